//! Signatures, keyrings and signed releases that are damaged in larger pieces, and more of them,
//! than `hostile` tries. Nothing that was changed counts as signed, and nothing panics.

use super::{NOW, RELEASE, fixture};
use crate::damaged;
use crate::ecosystem::apt::signature::{is_one, verify};

#[test]
fn what_becomes_of_a_signed_release_is_what_was_signed_or_refused() {
    for name in ["ed", "rsa", "p256"] {
        let key = fixture(&format!("{name}.key")).as_bytes();
        let document = fixture(&format!("{name}.InRelease"));
        assert!(verify(document.as_bytes(), None, key, NOW).is_ok(), "{name}");
        damaged::each(document, |damaged| match verify(damaged, None, key, NOW) {
            Ok(text) => assert_eq!(text, RELEASE.as_bytes(), "{name}"),
            Err(error) => assert!(!error.to_string().is_empty() && error.is_of_the_index(), "{error:?}"),
        });
    }
}

#[test]
fn what_becomes_of_a_signature_beside_a_release_signs_nothing_else() {
    let (key, document) = (fixture("ed.key").as_bytes(), fixture("ed.Release.gpg"));
    let signed = RELEASE.replace("stable\n", "stable  \t\n");
    assert!(verify(signed.as_bytes(), Some(document.as_bytes()), key, NOW).is_ok());
    damaged::each(document, |damaged| {
        let _ = is_one(damaged);
        let found = verify(signed.as_bytes(), Some(damaged), key, NOW);
        assert!(found.is_ok_and(|text| text == signed.as_bytes()) || is_refused(b"other", damaged, key));
        assert!(is_refused(b"other", damaged, key));
    });
}

fn is_refused(document: &[u8], signature: &[u8], key: &[u8]) -> bool {
    verify(document, Some(signature), key, NOW).is_err()
}

#[test]
fn what_becomes_of_a_keyring_is_no_reason_to_count_an_old_signature() {
    for name in ["subrevoked", "expired", "ed"] {
        let document = fixture(&format!("{name}.InRelease")).as_bytes();
        damaged::each(fixture(&format!("{name}.key")), |damaged| {
            let found = verify(document, None, damaged, NOW);
            // A revocation that is damaged is none, as one that was never there is none.
            assert!(found.is_err() || name != "expired", "{name}");
        });
    }
}
