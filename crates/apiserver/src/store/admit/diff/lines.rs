//! A unified diff: the longest run of equal lines first, then what is before and after it.
use std::collections::HashMap;
use std::fmt::Write as _;

/// Equal lines that are shown around a change.
const CONTEXT: usize = 3;
/// From so many lines on, lines that are everywhere are no starting points.
const POPULAR_FROM: usize = 200;

#[derive(Clone, Copy, PartialEq, Eq)]
struct Same {
    old: usize,
    new: usize,
    size: usize,
}

/// A stretch that is equal, or differs.
#[derive(Clone, Copy)]
struct Stretch {
    equal: bool,
    old: (usize, usize),
    new: (usize, usize),
}

/// The differences of two texts, line by line.
pub(super) fn unified(old: &[&str], new: &[&str]) -> String {
    let mut out = String::new();
    for group in groups(stretches(old, new)) {
        let (Some(first), Some(last)) = (group.first(), group.last()) else {
            continue;
        };
        let (from, to) = (
            range(first.old.0, last.old.1),
            range(first.new.0, last.new.1),
        );
        // Writing to a text cannot fail.
        writeln!(out, "@@ -{from} +{to} @@").unwrap_or_default();
        for one in group {
            let mut lines = |mark: char, lines: &[&str]| {
                for line in lines {
                    writeln!(out, "{mark}{line}").unwrap_or_default();
                }
            };
            if one.equal {
                lines(' ', &old[one.old.0..one.old.1]);
            } else {
                lines('-', &old[one.old.0..one.old.1]);
                lines('+', &new[one.new.0..one.new.1]);
            }
        }
    }
    out
}

fn range(from: usize, to: usize) -> String {
    match to - from {
        1 => (from + 1).to_string(),
        0 => format!("{from},0"),
        length => format!("{},{length}", from + 1),
    }
}

/// Stretches that stand near each other, with a little of what is equal around them.
fn groups(mut all: Vec<Stretch>) -> Vec<Vec<Stretch>> {
    if let Some(first) = all.first_mut().filter(|one| one.equal) {
        first.old.0 = first.old.0.max(first.old.1.saturating_sub(CONTEXT));
        first.new.0 = first.new.0.max(first.new.1.saturating_sub(CONTEXT));
    }
    if let Some(last) = all.last_mut().filter(|one| one.equal) {
        last.old.1 = last.old.1.min(last.old.0 + CONTEXT);
        last.new.1 = last.new.1.min(last.new.0 + CONTEXT);
    }
    let (mut found, mut group) = (Vec::new(), Vec::new());
    for one in all {
        if !one.equal || one.old.1 - one.old.0 <= 2 * CONTEXT {
            group.push(one);
            continue;
        }
        let (mut head, mut tail) = (one, one);
        head.old.1 = one.old.0 + CONTEXT;
        head.new.1 = one.new.0 + CONTEXT;
        tail.old.0 = one.old.1 - CONTEXT;
        tail.new.0 = one.new.1 - CONTEXT;
        group.push(head);
        found.push(std::mem::take(&mut group));
        group.push(tail);
    }
    if group.iter().any(|one| !one.equal) {
        found.push(group);
    }
    found
}

fn stretches(old: &[&str], new: &[&str]) -> Vec<Stretch> {
    let mut all = Vec::new();
    let (mut at_old, mut at_new) = (0, 0);
    let end = Same {
        old: old.len(),
        new: new.len(),
        size: 0,
    };
    for same in blocks(old, new).into_iter().chain([end]) {
        if at_old < same.old || at_new < same.new {
            all.push(Stretch {
                equal: false,
                old: (at_old, same.old),
                new: (at_new, same.new),
            });
        }
        (at_old, at_new) = (same.old + same.size, same.new + same.size);
        if same.size > 0 {
            all.push(Stretch {
                equal: true,
                old: (same.old, at_old),
                new: (same.new, at_new),
            });
        }
    }
    all
}

/// All equal runs in order, neighbours joined.
fn blocks(old: &[&str], new: &[&str]) -> Vec<Same> {
    let places = places(new);
    let mut open = vec![((0, old.len()), (0, new.len()))];
    let mut found = Vec::new();
    while let Some((in_old, in_new)) = open.pop() {
        let best = longest((old, in_old), (new, in_new), &places);
        if best.size == 0 {
            continue;
        }
        found.push(best);
        if in_old.0 < best.old && in_new.0 < best.new {
            open.push(((in_old.0, best.old), (in_new.0, best.new)));
        }
        let (end_old, end_new) = (best.old + best.size, best.new + best.size);
        if end_old < in_old.1 && end_new < in_new.1 {
            open.push(((end_old, in_old.1), (end_new, in_new.1)));
        }
    }
    found.sort_by_key(|same| (same.old, same.new));
    let mut joined: Vec<Same> = Vec::new();
    for same in found {
        match joined.last_mut() {
            Some(last) if last.old + last.size == same.old && last.new + last.size == same.new => {
                last.size += same.size;
            }
            _ => joined.push(same),
        }
    }
    joined
}

/// Where each line stands, but for those that stand everywhere.
fn places<'a>(lines: &[&'a str]) -> HashMap<&'a str, Vec<usize>> {
    let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
    for (index, line) in lines.iter().enumerate() {
        places.entry(line).or_default().push(index);
    }
    if lines.len() >= POPULAR_FROM {
        let most = lines.len() / 100 + 1;
        places.retain(|_, at| at.len() <= most);
    }
    places
}

type Part<'a> = (&'a [&'a str], (usize, usize));

fn longest(
    (old, in_old): Part<'_>,
    (new, in_new): Part<'_>,
    places: &HashMap<&str, Vec<usize>>,
) -> Same {
    let mut best = Same {
        old: in_old.0,
        new: in_new.0,
        size: 0,
    };
    let mut ending: HashMap<usize, usize> = HashMap::new();
    for (at, line) in old.iter().enumerate().take(in_old.1).skip(in_old.0) {
        let mut next = HashMap::new();
        for &place in places.get(line).into_iter().flatten() {
            if !(in_new.0..in_new.1).contains(&place) {
                continue;
            }
            let before = place.checked_sub(1).and_then(|one| ending.get(&one));
            let size = before.copied().unwrap_or(0) + 1;
            next.insert(place, size);
            if size > best.size {
                best = Same {
                    old: at + 1 - size,
                    new: place + 1 - size,
                    size,
                };
            }
        }
        ending = next;
    }
    while best.old > in_old.0 && best.new > in_new.0 && old[best.old - 1] == new[best.new - 1] {
        best = Same {
            old: best.old - 1,
            new: best.new - 1,
            size: best.size + 1,
        };
    }
    while best.old + best.size < in_old.1
        && best.new + best.size < in_new.1
        && old[best.old + best.size] == new[best.new + best.size]
    {
        best.size += 1;
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_shown_with_three_lines_around_them() {
        let old: Vec<String> = (0..20).map(|number| number.to_string()).collect();
        let mut new = old.clone();
        new[4] = "x".to_owned();
        new.remove(15);
        let (old, new): (Vec<&str>, Vec<&str>) = (
            old.iter().map(String::as_str).collect(),
            new.iter().map(String::as_str).collect(),
        );
        assert_eq!(
            unified(&old, &new),
            "@@ -2,7 +2,7 @@\n 1\n 2\n 3\n-4\n+x\n 5\n 6\n 7\n@@ -13,7 +13,6 @@\n 12\n 13\n 14\n-15\n 16\n 17\n 18\n"
        );
        assert_eq!(unified(&old, &old), "");
    }
}
