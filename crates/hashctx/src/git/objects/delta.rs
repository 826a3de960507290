//! Applies a delta: copies of parts of a base, and new bytes.

use super::SIZE_LIMIT;

/// The object that `delta` makes of `base`; `None` where it does not fit it.
pub(super) fn apply(base: &[u8], delta: &[u8]) -> Option<Vec<u8>> {
    let mut rest = delta.iter();
    let base_size = size(&mut rest)?;
    let target_size = size(&mut rest)?;
    if base_size != base.len() || u64::try_from(target_size).ok()? > SIZE_LIMIT {
        return None;
    }
    let mut target = Vec::new();
    while let Some(&command) = rest.next() {
        if command & 0x80 == 0 {
            let (new, left) = rest.as_slice().split_at_checked(command.into())?;
            // A command of zero is reserved.
            target.extend_from_slice(Some(new).filter(|new| !new.is_empty())?);
            rest = left.iter();
        } else {
            let start = number(&mut rest, command, 4)?;
            let len = Some(number(&mut rest, command >> 4, 3)?).filter(|&len| len > 0).unwrap_or(0x10000);
            target.extend_from_slice(base.get(start..start.checked_add(len)?)?);
        }
        if target.len() > target_size {
            return None;
        }
    }
    (target.len() == target_size).then_some(target)
}

/// Seven bits a byte, the lowest first.
fn size(rest: &mut std::slice::Iter<'_, u8>) -> Option<usize> {
    let mut value = 0;
    for shift in (0..56).step_by(7) {
        let byte = *rest.next()?;
        value |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// A number of which only the bytes that `mask` marks are stored.
fn number(rest: &mut std::slice::Iter<'_, u8>, mask: u8, bytes: u8) -> Option<usize> {
    let mut value = 0;
    for at in (0..bytes).filter(|at| mask >> at & 1 == 1) {
        value |= usize::from(*rest.next()?) << (8 * at);
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn makes(delta: &[u8], expected: Option<&[u8]>) {
        assert_eq!(apply(b"hello world", delta).as_deref(), expected);
    }

    #[test]
    fn copies_and_new_bytes_are_put_together() {
        makes(&[11, 8, 0x90, 5, 3, b'!', b'!', b'!'], Some(b"hello!!!"));
        makes(&[11, 5, 0x91, 6, 5], Some(b"world"));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for delta in [
            &[][..],
            &[10, 5, 0x91, 6, 5],
            &[11, 4, 0x91, 6, 5],
            &[11, 9, 0x91, 6, 9],
            &[11, 1, 0],
            &[11, 3, 3, b'a'],
        ] {
            makes(delta, None);
        }
    }
}
