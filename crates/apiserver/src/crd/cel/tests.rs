//! Expressions and what they give, or why not.
use serde_json::{Value as Json, json};

use super::admission::{Gives, Named, Scope};
use super::check::{Changes, check};
use super::decl::{Root, Ty};
use super::eval::{Failure, Run};
use super::parse::parse;
use super::value::Val;

fn schema() -> Json {
    json!({"type": "object", "properties": {
        "n": {"type": "integer"}, "d": {"type": "number"}, "s": {"type": "string"},
        "xs": {"type": "array", "items": {"type": "string"}},
        "m": {"type": "object", "additionalProperties": {"type": "integer"}},
        "t": {"type": "string", "format": "date-time"}, "dur": {"type": "string", "format": "duration"},
        "p": {"x-kubernetes-int-or-string": true}, "a-b": {"type": "string"}, "namespace": {"type": "string"}}})
}

fn value() -> Json {
    json!({"n": 3, "d": 2.5, "s": "hello", "xs": ["a", "b", "b"], "m": {"k": 1, "l": 2},
        "t": "2024-05-06T07:08:09Z", "dur": "1h30m", "p": "50%", "a-b": "dash", "namespace": "ns"})
}

fn run(text: &str) -> Result<Val, String> {
    let ty = Ty::of_schema(&schema(), Root::No).unwrap();
    let node = parse(text).map_err(|problems| problems[0].text.clone())?;
    check(&node, &[("self", ty.clone())], Changes::No)
        .map_err(|problems| problems[0].text.clone())?;
    let this = Val::of_json(&value(), &ty, &mut 0);
    let mut run = Run::new(vec![("self".to_owned(), this)], 100_000);
    run.node(&node).map_err(|failure| match failure {
        Failure::Cost => "cost".to_owned(),
        Failure::Error(text) => text,
    })
}

#[track_caller]
fn holds(text: &str) {
    match run(text) {
        Ok(Val::Bool(true)) => {}
        other => panic!("{text}: {other:?}"),
    }
}

#[track_caller]
fn fails(text: &str, why: &str) {
    assert_eq!(run(text).unwrap_err(), why, "{text}");
}

#[test]
fn operators_and_macros() {
    for text in [
        "1 + 2 * 3 == 7 && -self.n == -3 && 7 / 2 == 3 && 7 % 4 == 3",
        "self.d > 2 && self.n < 3.5 && dyn(1) == 1.0 && 2u < 3",
        "'a' + 'b' == 'ab' && [1] + [2] == [1, 2]",
        "'b' in self.xs && 'k' in self.m && !('z' in self.m)",
        "self.xs.all(x, size(x) == 1) && self.xs.exists(x, x == 'a') && self.xs.exists_one(x, x == 'a')",
        "self.xs.map(x, x + x) == ['aa', 'bb', 'bb'] && self.xs.filter(x, x != 'a').size() == 2",
        "self.xs.map(x, x != 'a', x) == ['b', 'b'] && self.m.all(k, self.m[k] > 0)",
        "self.m.all(k, v, v > 0) && self.xs.all(i, x, i < 3 || x == 'a')",
        "has(self.s) && self.__namespace__ == 'ns' && self.a__dash__b == 'dash'",
        "true || 1 / 0 == 1",
        "false ? 1 / 0 == 1 : true",
        "type(self.p) == string && type(self.n) == int && type(1.5) == double",
        "{'a': 1, 'b': 2}.b == 2 && {'a': 1}['a'] == 1",
        "self.?s.orValue('') == 'hello' && optional.of(1).hasValue() && optional.none().orValue(3) == 3",
        "self.xs[?9].orValue('none') == 'none'",
        "cel.bind(x, self.n, x + x) == 6",
        "r'\\d' == '\\\\d' && 'tab\\t' != 'tab' && '''a\nb'''.size() == 3",
    ] {
        holds(text);
    }
}

#[test]
fn functions() {
    for text in [
        "self.s.startsWith('he') && self.s.endsWith('lo') && self.s.contains('ell') && self.s.matches('^h.*o$')",
        "self.s.upperAscii() == 'HELLO' && 'A'.lowerAscii() == 'a' && ' x '.trim() == 'x'",
        "'a,b'.split(',') == ['a', 'b'] && ['a', 'b'].join('-') == 'a-b' && 'aXbX'.replace('X', '') == 'ab'",
        "'hello'.substring(1, 3) == 'el' && 'hello'.indexOf('l') == 2 && 'hello'.lastIndexOf('l') == 3",
        "'abc'.charAt(1) == 'b' && 'abc'.find('b.') == 'bc' && 'a1b2'.findAll('[0-9]') == ['1', '2']",
        "'%s is %d or %.2f'.format(['x', 3, 1.5]) == 'x is 3 or 1.50'",
        "[1, 2].isSorted() && [1, 2].sum() == 3 && [3, 1].min() == 1 && [3, 1].max() == 3 && [1, 2].indexOf(2) == 1",
        "sets.contains([1, 2], [1]) && sets.equivalent([1, 1], [1]) && !sets.intersects([1], [2])",
        "self.t > timestamp('2024-01-01T00:00:00Z') && self.t.getFullYear() == 2024 && self.t.getMonth() == 4",
        "self.dur == duration('90m') && self.dur.getMinutes() == 90 && duration('1h') < self.dur",
        "isURL('https://a.b:80/c?d=e') && url('https://a.b:80/c').getHost() == 'a.b:80' && url('https://a.b:80/c').getPort() == '80'",
        "isIP('::1') && ip('10.0.0.1').family() == 4 && cidr('10.0.0.0/8').containsIP('10.1.2.3')",
        "cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16') && cidr('10.0.0.0/8').prefixLength() == 8",
        "isQuantity('1Gi') && quantity('1Gi').isGreaterThan(quantity('1G')) && quantity('1500m').compareTo(quantity('1.5')) == 0",
        "quantity('2').add(quantity('3')).asInteger() == 5 && semver('1.2.3').isLessThan(semver('1.10.0'))",
        "int('3') == 3 && string(1) == '1' && double('1.5') == 1.5 && string(2.0) == '2' && bool('true')",
        "!format.dns1123Label().validate('ok').hasValue() && format.dns1123Label().validate('NO').hasValue()",
    ] {
        holds(text);
    }
}

#[test]
fn what_does_not_fit_is_named_before_it_runs() {
    fails("self.nope", "undefined field 'nope'");
    fails("nope", "undeclared reference to 'nope' (in container '')");
    fails(
        "self.s.nope()",
        "undeclared reference to 'nope' (in container '')",
    );
    fails(
        "self.n > 'a'",
        "found no matching overload for '_>_' applied to '(int, string)'",
    );
    fails(
        "self.n == 'a'",
        "found no matching overload for '_==_' applied to '(int, string)'",
    );
    fails(
        "self.s.startsWith(1)",
        "found no matching overload for 'startsWith' applied to 'string.(int)'",
    );
    fails("self.s.x", "type 'string' does not support field selection");
    fails(
        "self.n.all(x, true)",
        "expression of type 'int' cannot be range of a comprehension (must be list, map, or dynamic)",
    );
}

#[test]
fn what_goes_wrong_while_it_runs_is_an_error() {
    fails("1 / 0 == 1", "division by zero");
    fails("self.xs[7] == ''", "index out of bounds: 7");
    fails("self.m['z'] == 1", "no such key: z");
    fails("9223372036854775807 + 1 == 0", "integer overflow");
    fails("self.p > 1", "no such overload");
    // What sorts relies on an order, which a number that is none has not.
    fails("[2.0, 0.0 / 0.0, 1.0].sort()[0] == 1.0", "no such overload");
    fails(
        "[1, 2].map(x, 'a' + string(x)).join(',') == 1",
        "found no matching overload for '_==_' applied to '(string, int)'",
    );
}

#[test]
fn what_is_in_a_value_many_times_counts_as_often() {
    let many = "[[1]]".to_owned() + &".map(x, [x, x])".repeat(40);
    let text = "'0123456789'".to_owned()
        + &".replace('0123456789', '0123456789abcdef0123456789')".repeat(12);
    for end in [
        ".all(x, x == x)",
        ".all(x, x in [x])",
        ".all(x, [x].indexOf(x) == 0)",
        ".all(x, [x].lastIndexOf(x) == 0)",
        ".all(x, sets.contains([x], [x]))",
        ".all(x, sets.intersects([x], [x]))",
        ".all(x, [x, x].distinct().size() == 1)",
        ".all(x, {'a': x} == {'a': x})",
        ".all(x, '%s'.format([x]) == '')",
        ".all(x, '%s'.format([{'a': x}]) == '')",
        ".flatten(32).size() == 1",
    ] {
        fails(&format!("{many}{end}"), "cost");
    }
    for end in [
        "[s, s, s, s].sort().size() == 4 && [s, s, s, s].sort().size() == 4",
        "lists.range(20).map(x, s).min() == s",
        "lists.range(20).map(x, s).isSorted()",
        "s.split('').size() == 1",
    ] {
        fails(&format!("cel.bind(s, {text}, {end})"), "cost");
    }
    fails(r"self.xs.all(x, x.matches('\\pL{16}'))", "cost");
}

#[test]
fn no_expression_runs_or_nests_for_long() {
    let nested = "[1,2,3,4,5,6,7,8,9,10].all(a, ".repeat(8) + "true" + &")".repeat(8);
    fails(&nested, "cost");
    for text in [
        "(".repeat(100_000),
        "!".repeat(100_000),
        "-".repeat(100_000),
        "a.b".repeat(10_000),
        "1+".repeat(10_000) + "1",
        "[".repeat(50_000),
    ] {
        assert!(run(&text).is_err());
    }
}

#[test]
fn types_stay_small() {
    let nested = ".map(a, [[[[[[[[a]]]]]]]])";
    for (link, most) in [(".map(a, {a: a})", 40), (nested, 60)] {
        let text = format!("[1]{}.size() == 1", link.repeat(most));
        fails(&text, "type is too large");
    }
    holds(&format!("[1]{}.size() == 1", nested.repeat(20)));
    let dynamic = format!(".map(a, {}dyn(a){})", "[".repeat(30), "]".repeat(30)).repeat(60);
    let why = "expression recursion limit exceeded: 250";
    fails(&format!("[1]{dynamic}.size() == 1"), why);
}

/// What the first variable is refused for, of those that are each made of the one before.
fn chain(make: impl Fn(&str) -> String) -> Option<String> {
    let mut scope = Scope::new(Named::No).with_variables();
    scope.declare("v0", scope.compile("1", Gives::Any).ok().as_ref());
    for at in 1..=256 {
        let before = format!("variables.v{}", at - 1);
        match scope.compile(&make(&before), Gives::Any) {
            Ok(program) => scope.declare(&format!("v{at}"), Some(&program)),
            Err(why) => return Some(why),
        }
    }
    None
}

#[test]
fn variables_do_not_nest_for_long() {
    let (open, close) = ("[".repeat(50), "]".repeat(50));
    for (why, make) in [
        ("type is too large", "{X: X}".to_owned()),
        ("type is too large", format!("{open}X{close}")),
        ("recursion limit exceeded", format!("dyn({open}X{close})")),
        (
            "recursion limit exceeded",
            "dyn({1: [[[[X, X]]]]})".to_owned(),
        ),
    ] {
        let found = chain(|before| make.replace('X', before)).unwrap();
        assert!(found.contains(why), "{make}: {found}");
    }
    assert_eq!(chain(|before| format!("{before} + 1")), None);
}

#[test]
fn a_problem_is_shown_where_it_is() {
    let text = "self.a &&\n  self.nope";
    let node = parse(text).unwrap();
    let ty = Ty::of_schema(
        &json!({"type": "object", "properties": {"a": {"type": "boolean"}}}),
        Root::No,
    )
    .unwrap();
    let problems = check(&node, &[("self", ty)], Changes::No).unwrap_err();
    assert_eq!(
        problems[0].shown(text),
        "ERROR: <input>:2:7: undefined field 'nope'\n |   self.nope\n | ......^"
    );
}

#[test]
fn expressions_say_what_shall_be_changed() {
    let scope = Scope::new(Named::No).with_changes();
    for (text, gives) in [
        ("Object{}", Gives::Object),
        (
            "Object{spec: Object.spec{a: 1, ?b: optional.none()},}",
            Gives::Object,
        ),
        ("true ? Object{} : Object{a: object.b}", Gives::Object),
        ("[JSONPatch{op: 'add'}]", Gives::Operations),
        ("true ? [] : [JSONPatch{}]", Gives::Operations),
        (
            "[?optional.none(), ?optional.of(JSONPatch{})] + []",
            Gives::Operations,
        ),
        (
            "['a'].map(k, JSONPatch{path: jsonpatch.escapeKey(k)})",
            Gives::Operations,
        ),
        (".Object{`a`: {?'b': optional.none()}}", Gives::Object),
    ] {
        if let Err(why) = scope.compile(text, gives) {
            panic!("{text}: {why}");
        }
    }
}

#[test]
fn what_says_nothing_of_changes_is_refused_in_the_words_of_kubernetes() {
    let scope = Scope::new(Named::No).with_changes();
    for (text, gives, why) in [
        (
            "Object.spec{}",
            Gives::Object,
            "must evaluate to Object but got Object.spec",
        ),
        (
            "[]",
            Gives::Operations,
            "must evaluate to list(JSONPatch) but got list(dyn)",
        ),
        (
            "true ? Object{} : object",
            Gives::Object,
            "must evaluate to Object but got dyn",
        ),
        (
            "Other{a: nothing}",
            Gives::Object,
            "undeclared reference to 'Other' (in container '')",
        ),
        (
            "Object{a: ['b', object.c]}",
            Gives::Object,
            "expected type 'string' but found 'dyn'",
        ),
        (
            "JSONPatch{op: 1}",
            Gives::Any,
            "expected type of field 'op' is 'string' but provided type is 'int'",
        ),
        (
            "(Object){}",
            Gives::Any,
            "extraneous input '{' expecting <EOF>",
        ),
        (
            "Object{a: 1 b: 2}",
            Gives::Any,
            "mismatched input 'b' expecting {'}', ','}",
        ),
        (
            "Object{1: 2}",
            Gives::Any,
            "mismatched input '1' expecting {'}', ',', '?', IDENTIFIER, ESC_IDENTIFIER}",
        ),
    ] {
        let found = scope.compile(text, gives).unwrap_err();
        assert!(found.contains(why), "{text}: {found}");
    }
}

#[test]
fn a_rule_cannot_say_what_shall_be_changed() {
    fails(
        "Object{} == Object{}",
        "undeclared reference to 'Object' (in container '')",
    );
    let undeclared = run("jsonpatch.escapeKey('a') == 'a'").unwrap_err();
    assert!(
        undeclared.starts_with("undeclared reference"),
        "{undeclared}"
    );
}
