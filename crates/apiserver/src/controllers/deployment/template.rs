//! A short name for a pod template, as Kubernetes makes it: a hash of what Go prints of the template.
//!
//! `template.txt` has the structs of a template: for each its fields, with their names in Go and in JSON, their type, and
//! the kind of that type.
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::LazyLock;

use serde_json::Value;

use crate::crd::number::html_safe;
use crate::quantity::Quantity;

const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

struct Field {
    go: &'static str,
    /// Empty if its fields are among those of the struct that has it.
    json: &'static str,
    of: &'static str,
    kind: &'static str,
}

static STRUCTS: LazyLock<BTreeMap<&'static str, Vec<Field>>> = LazyLock::new(|| {
    let mut structs: BTreeMap<&str, Vec<Field>> = BTreeMap::new();
    let mut name = "";
    for line in include_str!("template.txt").lines() {
        let Some(field) = line.strip_prefix(' ') else {
            name = line;
            continue;
        };
        let mut words = field.split(' ');
        let mut word = || words.next().unwrap_or_default();
        let (go, json, of, kind) = (word(), word(), word(), word());
        let json = if json == "-" { "" } else { json };
        let fields = structs.entry(name).or_default();
        fields.push(Field { go, json, of, kind });
    }
    structs
});

/// The name of a template, the same for the same template.
pub(in crate::controllers) fn hash(template: &Value, collisions: Option<i64>) -> String {
    let mut text = String::from("(v1.PodTemplateSpec)");
    structure("v1.PodTemplateSpec", template, &mut text);
    let salt = collisions.map(i64::to_le_bytes);
    let salt: &[u8] = salt.as_ref().map_or(&[], |salt| salt);
    let mut hash: u32 = 0x811c_9dc5;
    for byte in text.as_bytes().iter().chain(salt) {
        hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    }
    letters(hash)
}

/// The name of a revision, by what it holds.
pub(in crate::controllers) fn hash_of_data(data: &Value, collisions: i64) -> String {
    let data = html_safe(&data.to_string());
    let text = format!("{data}{collisions}");
    let mut hash: u32 = 0x811c_9dc5;
    for byte in text.as_bytes() {
        hash = hash.wrapping_mul(0x0100_0193) ^ u32::from(*byte);
    }
    letters(hash)
}

fn letters(hash: u32) -> String {
    let digits = hash.to_string();
    let letter = |digit: u8| char::from(ALPHABET[usize::from(digit) % ALPHABET.len()]);
    digits.bytes().map(letter).collect()
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    // A String takes everything.
    out.write_fmt(text).unwrap_or_default();
}

fn structure(name: &str, value: &Value, out: &mut String) {
    match name {
        "v1.Time" => {
            return out.push_str(
                "{Time:(time.Time){wall:(uint64)0 ext:(int64)0 loc:(*time.Location)<nil>}}",
            );
        }
        "resource.Quantity" => return quantity(value, out),
        "intstr.IntOrString" => return int_or_string(value, out),
        _ => {}
    }
    out.push('{');
    for (at, field) in STRUCTS.get(name).into_iter().flatten().enumerate() {
        if at > 0 {
            out.push(' ');
        }
        put(out, format_args!("{}:({})", field.go, field.of));
        let inner = if field.json.is_empty() {
            value
        } else {
            &value[field.json]
        };
        any((field.of, field.kind), inner, out);
    }
    out.push('}');
}

/// A value without its type.
fn any((of, kind): (&str, &str), value: &Value, out: &mut String) {
    match kind {
        "ptr" => match value {
            Value::Null => out.push_str("<nil>"),
            value => {
                let inner = of.trim_start_matches('*');
                any((inner, kind_of(inner)), value, out);
            }
        },
        "slice" => {
            let list = value.as_array().filter(|list| !list.is_empty());
            let Some(list) = list else {
                return out.push_str("<nil>");
            };
            let inner = of.strip_prefix("[]").unwrap_or("string");
            out.push('[');
            for (at, one) in list.iter().enumerate() {
                if at > 0 {
                    out.push(' ');
                }
                any((inner, kind_of(inner)), one, out);
            }
            out.push(']');
        }
        "map" => map(of, value, out),
        "struct" => structure(of, value, out),
        "bool" => put(out, format_args!("{}", *value == true)),
        "string" => out.push_str(value.as_str().unwrap_or_default()),
        _ => put(out, format_args!("{}", value.as_i64().unwrap_or(0))),
    }
}

fn map(of: &str, value: &Value, out: &mut String) {
    let map = value.as_object().filter(|map| !map.is_empty());
    let Some(map) = map else {
        return out.push_str("<nil>");
    };
    let inner = match of {
        "v1.ResourceList" => "resource.Quantity",
        _ => of.split_once(']').map_or("string", |(_, inner)| inner),
    };
    let sorted: BTreeMap<&String, &Value> = map.iter().collect();
    out.push_str("map[");
    for (at, (name, one)) in sorted.into_iter().enumerate() {
        if at > 0 {
            out.push(' ');
        }
        put(out, format_args!("{name}:"));
        any((inner, kind_of(inner)), one, out);
    }
    out.push(']');
}

fn kind_of(of: &str) -> &str {
    match of {
        _ if of.starts_with("[]") => "slice",
        _ if of.starts_with("map[") => "map",
        _ if of.starts_with('*') => "ptr",
        "bool" => "bool",
        "int" | "int32" | "int64" => "int",
        "resource.Quantity" | "intstr.IntOrString" | "v1.Time" => "struct",
        _ if STRUCTS.contains_key(of) => "struct",
        _ => "string",
    }
}

fn int_or_string(value: &Value, out: &mut String) {
    let (kind, number, text) = match value {
        Value::String(text) => (1, 0, text.as_str()),
        other => (0, other.as_i64().unwrap_or(0), ""),
    };
    put(
        out,
        format_args!("{{Type:(intstr.Type){kind} IntVal:(int32){number} StrVal:(string){text}}}"),
    );
}

fn quantity(value: &Value, out: &mut String) {
    let text = Quantity::of(value).unwrap_or(Quantity::ZERO).to_string();
    let end = text
        .find(|one: char| !(one.is_ascii_digit() || one == '-'))
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let mut number: i64 = number.parse().unwrap_or(0);
    let (form, scale) = match suffix {
        "n" => ("DecimalSI", -9),
        "u" => ("DecimalSI", -6),
        "m" => ("DecimalSI", -3),
        "k" => ("DecimalSI", 3),
        "M" => ("DecimalSI", 6),
        "G" => ("DecimalSI", 9),
        "T" => ("DecimalSI", 12),
        "P" => ("DecimalSI", 15),
        "E" => ("DecimalSI", 18),
        _ if suffix.starts_with('e') => ("DecimalExponent", suffix[1..].parse().unwrap_or(0)),
        _ => {
            let binary = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
            match binary.iter().position(|one| *one == suffix) {
                Some(at) => {
                    number = number.saturating_mul(1024_i64.saturating_pow(exponent(at)));
                    ("BinarySI", 0)
                }
                None => ("DecimalSI", 0),
            }
        }
    };
    put(
        out,
        format_args!(
            "{{i:(resource.int64Amount){{value:(int64){number} scale:(resource.Scale){scale}}} \
             d:(resource.infDecAmount){{Dec:(*inf.Dec)<nil>}} s:(string){text} Format:(resource.Format){form}}}"
        ),
    );
}

fn exponent(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(0).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_named_as_kubernetes_names_them() {
        let plain: Value = serde_json::from_str(PLAIN).unwrap();
        assert_eq!(hash(&plain, None), "7b9b46bd96");
        let full: Value = serde_json::from_str(FULL).unwrap();
        assert_eq!(hash(&full, None), "dd975bd6b");
    }

    /// Templates of a real cluster, as it stores them.
    const PLAIN: &str = r#"{"metadata": {"labels": {"app": "d"}},"spec": {"containers": [{"image": "i",
"imagePullPolicy": "Always","name": "i","resources": {},
"terminationMessagePath": "/dev/termination-log","terminationMessagePolicy": "File"}],
"dnsPolicy": "ClusterFirst","restartPolicy": "Always","schedulerName": "default-scheduler",
"securityContext": {},"terminationGracePeriodSeconds": 30}}"#;
    const FULL: &str = r#"{"metadata": {"annotations": {"x": "y z"},"labels": {"a": "b","c": "d"}},
"spec": {"affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"podAffinityTerm": {"labelSelector": {"matchLabels": {"a": "b"}},
"topologyKey": "t"},"weight": 1}]}},"containers": [{"args": ["x",""],"env": [{"name": "A",
"value": "1"},{"name": "NN","valueFrom": {"fieldRef": {"apiVersion": "v1",
"fieldPath": "metadata.name"}}}],"image": "i:1","imagePullPolicy": "IfNotPresent",
"livenessProbe": {"failureThreshold": 3,"httpGet": {"path": "/","port": "http",
"scheme": "HTTP"},"periodSeconds": 3,"successThreshold": 1,"timeoutSeconds": 1},"name": "c",
"ports": [{"containerPort": 80,"name": "http","protocol": "TCP"}],
"readinessProbe": {"failureThreshold": 3,"periodSeconds": 10,"successThreshold": 1,
"tcpSocket": {"port": 80},"timeoutSeconds": 1},"resources": {"limits": {"cpu": "1"},
"requests": {"cpu": "500m","memory": "1Gi"}},
"securityContext": {"capabilities": {"add": ["NET_ADMIN"]},"runAsUser": 5},
"terminationMessagePath": "/dev/termination-log","terminationMessagePolicy": "File",
"volumeMounts": [{"mountPath": "/v","name": "v"}]}],"dnsPolicy": "ClusterFirst",
"initContainers": [{"command": ["a","b"],"image": "i","imagePullPolicy": "Always",
"name": "i","resources": {},"terminationMessagePath": "/dev/termination-log",
"terminationMessagePolicy": "File"}],"nodeSelector": {"k": "v"},"restartPolicy": "Always",
"schedulerName": "default-scheduler","securityContext": {},
"terminationGracePeriodSeconds": 30,"tolerations": [{"effect": "NoExecute","key": "k",
"operator": "Exists","tolerationSeconds": 5}],"volumes": [{"emptyDir": {},
"name": "v"},{"configMap": {"defaultMode": 420,"items": [{"key": "a","path": "b"}],
"name": "m"},"name": "c"},{"name": "p","projected": {"defaultMode": 420,
"sources": [{"serviceAccountToken": {"expirationSeconds": 3600,"path": "t"}}]}}]}}"#;
}
