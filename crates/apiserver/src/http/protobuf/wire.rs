//! The wire format of protobuf: numbered fields of four shapes. Pure; every byte comes from outside.

/// One field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    pub(super) number: u64,
    pub(super) payload: Payload<'a>,
}

/// What a field carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Payload<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message, up to the first that is cut off or malformed.
pub(super) fn parts(bytes: &[u8]) -> impl Iterator<Item = Result<Part<'_>, String>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        match part(rest) {
            Some((part, after)) => {
                rest = after;
                Some(Ok(part))
            }
            None => {
                rest = &[];
                Some(Err("it is cut off or malformed".to_owned()))
            }
        }
    })
}

fn part(bytes: &[u8]) -> Option<(Part<'_>, &[u8])> {
    let (key, rest) = varint(bytes)?;
    let (payload, rest) = match key & 7 {
        0 => {
            let (number, rest) = varint(rest)?;
            (Payload::Number(number), rest)
        }
        1 => fixed::<8>(rest)?,
        2 => {
            let (length, rest) = varint(rest)?;
            let (bytes, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            (Payload::Bytes(bytes), rest)
        }
        5 => fixed::<4>(rest)?,
        _ => return None,
    };
    Some((
        Part {
            number: key >> 3,
            payload,
        },
        rest,
    ))
}

fn fixed<const N: usize>(bytes: &[u8]) -> Option<(Payload<'_>, &[u8])> {
    let (fixed, rest) = bytes.split_first_chunk::<N>()?;
    let number = fixed
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u64::from(*byte));
    Some((Payload::Number(number), rest))
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0;
    for (index, byte) in bytes.iter().enumerate().take(10) {
        number |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((number, bytes.get(index + 1..)?));
        }
    }
    None
}
