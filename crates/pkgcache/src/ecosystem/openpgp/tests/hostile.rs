//! Signatures and keyrings that somebody changed, or made up.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use proptest::sample::Index;

use super::{Block, NOW, RELEASE, binary, fixture};
use crate::ecosystem::apt::signature::verify;

static BINARY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let keys = ["ed", "expired", "subrevoked", "uidrevoked"].map(|key| fixture(&format!("{key}.key")));
    binary(&keys.concat(), Block::Keys)
});

/// The release as it was when it was signed beside it.
static SIGNED: LazyLock<String> = LazyLock::new(|| RELEASE.replace("stable\n", "stable  \t\n"));

/// Those whose signatures do not count, whatever becomes of them.
const REFUSED: [&str; 7] = ["expired", "subexpired", "revoked", "sha1", "weakself", "dsa", "small"];

/// A byte set, put in or taken out with some that follow, or the rest cut off.
#[derive(Clone, Debug)]
struct Damage {
    at: Index,
    kind: u8,
    byte: u8,
}

fn damage() -> impl Strategy<Value = Vec<Damage>> {
    let one = (any::<Index>(), 0..5_u8, any::<u8>()).prop_map(|(at, kind, byte)| Damage { at, kind, byte });
    prop::collection::vec(one, 1..6)
}

fn damaged(whole: &[u8], damage: &[Damage]) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for Damage { at, kind, byte } in damage {
        if bytes.is_empty() {
            break;
        }
        let place = at.index(bytes.len());
        match kind {
            0 => bytes[place] = *byte,
            1 => bytes[place] ^= 1 << (byte % 8),
            2 => bytes.insert(place, *byte),
            3 => drop(bytes.drain(place..(place + usize::from(*byte)).min(bytes.len()))),
            _ if byte % 8 == 0 => bytes.truncate(place),
            // A length that promises more than there is.
            _ => bytes[place] = 0xff,
        }
    }
    bytes
}

proptest! {
    #[test]
    fn no_change_of_a_document_is_taken_for_what_was_signed(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut document = fixture("ed.InRelease").as_bytes().to_vec();
        let place = at.index(document.len());
        document[place] = byte;
        if let Ok(text) = verify(&document, None, fixture("ed.key").as_bytes(), NOW) {
            prop_assert_eq!(String::from_utf8(text).unwrap(), RELEASE);
        }
    }

    #[test]
    fn no_change_of_a_keyring_makes_more_of_it(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut keyring = BINARY.clone();
        let place = at.index(keyring.len());
        keyring[place] = byte;
        keyring.truncate(if cut { place } else { keyring.len() });
        for name in ["expired", "subrevoked"] {
            let document = fixture(&format!("{name}.InRelease")).as_bytes();
            let changed = verify(document, None, &keyring, NOW);
            // A revocation that is damaged is none, as one that was never there is none.
            prop_assert!(changed.is_err() || name == "subrevoked");
        }
        let _ = verify(fixture("ed.InRelease").as_bytes(), None, &keyring, NOW);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), armored in any::<bool>()) {
        let key = fixture("ed.key").as_bytes();
        let wrapped = |kind: &str| {
            let text = STANDARD.encode(&bytes);
            format!("-----BEGIN PGP {kind}-----\n\n{text}\n-----END PGP {kind}-----\n").into_bytes()
        };
        let bytes_of = |kind| if armored { wrapped(kind) } else { bytes.clone() };
        let _ = verify(RELEASE.as_bytes(), Some(&bytes_of("SIGNATURE")), key, NOW);
        let _ = verify(fixture("ed.InRelease").as_bytes(), None, &bytes_of("PUBLIC KEY BLOCK"), NOW);
    }

    #[test]
    fn no_damage_to_a_signature_makes_it_count(damage in damage(), which in 0..REFUSED.len() + 3) {
        let names = [&REFUSED[..], &["rsa", "ed", "p256"]].concat();
        let name = names[which];
        let signature = damaged(&binary(fixture(&format!("{name}.Release.gpg")), Block::Signatures), &damage);
        let keyring = key_of(name);
        let found = verify(SIGNED.as_bytes(), Some(&signature), keyring.as_bytes(), NOW);
        prop_assert!(found.is_err() || !REFUSED.contains(&name), "{name}");
        // Nor does it make a signature of something else.
        let found = verify(b"other", Some(&signature), keyring.as_bytes(), NOW);
        prop_assert!(found.is_err(), "{name}");
    }

    #[test]
    fn no_damage_to_a_keyring_makes_a_signature_count(damage in damage(), which in 0..REFUSED.len() + 2) {
        let names = [&REFUSED[..], &["ed", "both"]].concat();
        let name = names[which];
        let keyring = damaged(&binary(&format!("{}{}", fixture("ed.key"), key_of(name)), Block::Keys), &damage);
        let found = verify(fixture(&format!("{name}.InRelease")).as_bytes(), None, &keyring, NOW);
        // A revocation that is damaged is none, as one that was never there is none.
        let may_count = ["ed", "both", "revoked"].contains(&name);
        prop_assert!(found.is_err() || may_count, "{name}");
    }
}

fn key_of(name: &str) -> &'static str {
    match name {
        "both" | "sha1" => fixture("rsa.key"),
        name => fixture(&format!("{name}.key")),
    }
}

#[test]
fn no_more_signatures_are_looked_at_than_a_release_has() {
    let key = fixture("ed.key").as_bytes();
    let [other, one] =
        ["rsa", "ed"].map(|name| binary(fixture(&format!("{name}.Release.gpg")), Block::Signatures));
    let check = |signatures: &[u8]| {
        verify(SIGNED.as_bytes(), Some(signatures), key, NOW).map_err(|it| it.to_string())
    };
    assert!(check(&one.repeat(500)).is_ok());
    // A good one that stands so far behind is not looked for.
    let error = check(&[other.repeat(64), one.clone()].concat()).unwrap_err();
    assert!(error.contains("is not in the keyring"), "{error}");
    assert!(check(&[other.repeat(63), one.clone()].concat()).is_ok());
    assert_eq!(check(&one.repeat(1001)).unwrap_err(), "its signature is not one of OpenPGP");
    assert_eq!(check(&vec![0xff; (1 << 20) + 1]).unwrap_err(), "its signature is larger than 1 MiB");
}

/// A signature of a subkey in such a signature, so often; that in the middle says nothing.
fn nested(depth: usize) -> Vec<u8> {
    let mut nested = vec![4, 0x19, 22, 8, 0, 0, 0, 0, 0, 0, 0, 8, 0x80, 0, 8, 0x80];
    for _ in 0..depth {
        let length = u32::try_from(nested.len() + 1).unwrap();
        let area = [&[0xff][..], &length.to_be_bytes(), &[32], &nested].concat();
        let head = [&[4, 0x19, 22, 8][..], &u16::try_from(area.len()).unwrap().to_be_bytes()].concat();
        nested = [&head[..], &area, &[0, 0, 0, 0, 0, 8, 0x80, 0, 8, 0x80]].concat();
    }
    let length = u32::try_from(nested.len()).unwrap();
    [&[0xc2, 0xff][..], &length.to_be_bytes(), &nested].concat()
}

/// There is no more than the one of a subkey, and no room on a stack for thousands.
#[test]
fn nested_signatures_are_not_followed() {
    for (depth, reason) in
        [(1, "says something that is not known"), (2, "no signature"), (2500, "no signature")]
    {
        let found = verify(RELEASE.as_bytes(), Some(&nested(depth)), fixture("ed.key").as_bytes(), NOW);
        let error = found.unwrap_err().to_string();
        assert!(error.contains(reason), "{depth}: {error}");
    }
}
