//! The two spellings of an ECDSA P-256 signature: ASN.1 (what TLS signs with) and r||s (what a JWT carries). Pure.

const HALF: usize = 32;

/// r||s of an ASN.1 signature; nothing if it is none of P-256.
pub(super) fn to_raw(der: &[u8]) -> Option<[u8; 2 * HALF]> {
    let (0x30, content, []) = element(der)? else {
        return None;
    };
    let (0x02, r, rest) = element(content)? else {
        return None;
    };
    let (0x02, s, []) = element(rest)? else {
        return None;
    };
    let mut raw = [0; 2 * HALF];
    let (left, right) = raw.split_at_mut(HALF);
    place(r, left)?;
    place(s, right)?;
    Some(raw)
}

/// The ASN.1 signature of r||s; nothing if the length is wrong.
pub(super) fn from_raw(raw: &[u8]) -> Option<Vec<u8>> {
    if raw.len() != 2 * HALF {
        return None;
    }
    let (r, s) = raw.split_at(HALF);
    let (r, s) = (integer(r), integer(s));
    let length = u8::try_from(r.len() + s.len()).ok()?;
    let mut der = vec![0x30, length];
    der.extend(r);
    der.extend(s);
    Some(der)
}

/// Tag, content and what follows. Only short lengths: a P-256 signature has at most 72 bytes.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&length, rest) = rest.split_first()?;
    if length >= 0x80 {
        return None;
    }
    let (content, rest) = rest.split_at_checked(usize::from(length))?;
    Some((tag, content, rest))
}

fn place(number: &[u8], half: &mut [u8]) -> Option<()> {
    let significant = significant(number);
    let start = HALF.checked_sub(significant.len())?;
    half.get_mut(start..)?.copy_from_slice(significant);
    Some(())
}

fn integer(half: &[u8]) -> Vec<u8> {
    let significant = significant(half);
    // A leading bit would make it negative; an empty one is zero.
    let pad = usize::from(significant.first().is_none_or(|byte| byte & 0x80 != 0));
    let mut out = vec![0x02, u8::try_from(significant.len() + pad).unwrap_or(0)];
    out.extend(std::iter::repeat_n(0, pad));
    out.extend(significant);
    out
}

fn significant(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or(&[])
}
