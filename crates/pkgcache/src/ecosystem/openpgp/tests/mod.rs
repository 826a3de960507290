//! Keys and signatures that `gpg` made, and what becomes of them at which time.
//!
//! They are in `fixtures.txt`, each behind a line with its name: public keys (`KEY.key`), a release
//! of January 2, 2026 that is signed by them in itself (`KEY.InRelease`) or beside it
//! (`KEY.Release.gpg`). `ed` and those that begin with `sub` sign by a subkey. The keys whose name
//! says so expire on February 1, 2026, or were revoked.

mod gnupg;
mod hostile;
mod mutated;

use pgp::packet::PacketTrait as _;
use pgp::ser::Serialize as _;
use pgp::types::Tag;

use super::packets::{Block, packets};
use crate::ecosystem::BadIndex;
use crate::ecosystem::apt::signature::verify;

/// January 10, 2026: nothing has expired.
const EARLY: i64 = 1_768_000_000;
/// November 2026.
const NOW: i64 = 1_796_000_000;

const RELEASE: &str = "\
Origin: Example
Description: of lines that are escaped
 -----BEGIN
Suite: stable
Date: Thu, 01 Jan 2026 00:00:00 UTC
SHA256:
 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 0 main/binary-amd64/Packages
";

fn fixture(name: &str) -> &'static str {
    let head = format!("== {name}\n");
    let (_, rest) = include_str!("fixtures.txt").split_once(&head).unwrap_or_else(|| panic!("{name}"));
    rest.split("== ").next().unwrap()
}

/// What blocks of armor hold.
fn binary(armored: &str, block: Block) -> Vec<u8> {
    let mut found = Vec::new();
    for packet in packets(armored.as_bytes(), block).unwrap() {
        packet.to_writer(&mut found).unwrap();
    }
    found
}

fn clear(document: &str, keys: &[&str], now: i64) -> Result<String, String> {
    let keyring: String = keys.iter().map(|key| fixture(&format!("{key}.key"))).collect();
    let text = verify(document.as_bytes(), None, keyring.as_bytes(), now);
    text.map(|text| String::from_utf8(text).unwrap()).map_err(|error| error.to_string())
}

fn signed(name: &str, keys: &[&str], now: i64) -> Result<String, String> {
    clear(fixture(&format!("{name}.InRelease")), keys, now)
}

/// The release as it was when it was signed beside it: with blanks that an `InRelease` does not
/// sign.
fn detached(name: &str, key: &str, now: i64) -> Result<(), String> {
    let signature = fixture(&format!("{name}.Release.gpg"));
    let keyring = fixture(&format!("{key}.key"));
    let release = RELEASE.replace("stable\n", "stable  \t\n");
    let text = verify(release.as_bytes(), Some(signature.as_bytes()), keyring.as_bytes(), now);
    text.map(|text| assert_eq!(text, release.as_bytes())).map_err(|error| error.to_string())
}

#[track_caller]
fn refused(found: Result<String, String>, reason: &str) {
    let error = found.unwrap_err();
    assert!(error.contains(reason), "{error}");
}

#[test]
fn signatures_of_known_keys_are_good() {
    for key in ["rsa", "ed", "p256", "p384", "extended", "uidrevoked", "unrevoked"] {
        let name = if key == "unrevoked" { "revoked" } else { key };
        assert_eq!(signed(name, &[key], NOW), Ok(RELEASE.to_owned()), "{key}");
        assert_eq!(detached(name, key, NOW), Ok(()), "{key}");
    }
    assert_eq!(detached("textmode", "rsa", NOW), Ok(()));
    assert_eq!(signed("rsa", &["ed", "expired", "rsa", "p256"], NOW), Ok(RELEASE.to_owned()));
}

#[test]
fn a_keyring_may_be_binary() {
    let keys = binary(&[fixture("ed.key"), fixture("rsa.key")].concat(), Block::Keys);
    let document = fixture("rsa.InRelease").as_bytes();
    assert!(verify(document, None, &keys, NOW).is_ok());
    let signature = binary(fixture("rsa.Release.gpg"), Block::Signatures);
    let release = RELEASE.replace("stable\n", "stable  \t\n");
    assert!(verify(release.as_bytes(), Some(&signature), &keys, NOW).is_ok());
}

#[test]
fn one_good_signature_of_two_is_enough() {
    for keys in [&["rsa"][..], &["ed"], &["ed", "rsa"]] {
        assert_eq!(signed("both", keys, NOW), Ok(RELEASE.to_owned()), "{keys:?}");
    }
    refused(signed("both", &["p256"], NOW), "is not in the keyring; the key");
}

#[test]
fn lines_are_those_that_were_signed() {
    let text = "- a\n-b\n--- c\n\nFrom d\n  e\n-----END PGP SIGNATURE-----\nlast\n";
    assert_eq!(signed("dashes", &["ed"], NOW).as_deref(), Ok(text));
}

#[test]
fn what_has_expired_does_not_count() {
    for name in ["expired", "subexpired"] {
        assert_eq!(signed(name, &[name], EARLY), Ok(RELEASE.to_owned()), "{name}");
        refused(signed(name, &[name], NOW), "has expired");
        assert!(detached(name, name, NOW).unwrap_err().contains("has expired"));
    }
    assert_eq!(signed("sigexpired", &["rsa"], EARLY), Ok(RELEASE.to_owned()));
    refused(signed("sigexpired", &["rsa"], NOW), "has expired");
    // Before it was made.
    refused(signed("rsa", &["rsa"], 1_767_200_000), "is not valid yet");
}

#[test]
fn what_is_revoked_does_not_count() {
    for name in ["revoked", "subrevoked"] {
        refused(signed(name, &[name], NOW), "is revoked");
        refused(signed(name, &[name], EARLY), "is revoked");
        assert!(detached(name, name, NOW).unwrap_err().contains("is revoked"));
    }
    // Also where an older copy of the key does not know it.
    refused(signed("revoked", &["unrevoked", "revoked"], NOW), "is revoked");
}

#[test]
fn what_is_weak_does_not_count() {
    refused(signed("sha1", &["rsa"], NOW), "uses SHA-1 or weaker");
    refused(signed("weakself", &["weakself"], NOW), "is only proved by a signature with SHA-1");
    refused(signed("dsa", &["dsa"], NOW), "algorithm that is not known here");
    refused(signed("small", &["small"], NOW), "algorithm that is not known here");
}

#[test]
fn another_key_does_not_count() {
    refused(signed("rsa", &["ed"], NOW), "is not in the keyring");
    assert!(detached("rsa", "ed", NOW).unwrap_err().contains("is not in the keyring"));
    let document = fixture("rsa.InRelease");
    let (text, _) = document.split_once("-----BEGIN PGP SIGNATURE-----").unwrap();
    let (_, other) = fixture("ed.InRelease").split_once("-----BEGIN PGP SIGNATURE-----").unwrap();
    let swapped = format!("{text}-----BEGIN PGP SIGNATURE-----{other}");
    // The same text, so that it is as good.
    assert!(clear(&swapped, &["ed"], NOW).is_ok());
    let changed = swapped.replace("stable", "sid");
    refused(clear(&changed, &["ed"], NOW), "it was changed");
}

#[test]
fn a_subkey_counts_for_its_own_key_alone() {
    // The subkey of `ed`, put behind the key `rsa` with all that is said of it.
    let mut keyring = binary(fixture("rsa.key"), Block::Keys);
    let packets = packets(fixture("ed.key").as_bytes(), Block::Keys).unwrap();
    for packet in packets.iter().skip_while(|it| it.tag() != Tag::PublicSubkey) {
        packet.to_writer(&mut keyring).unwrap();
    }
    let document = fixture("ed.InRelease").as_bytes();
    let error = verify(document, None, &keyring, NOW).unwrap_err().to_string();
    assert!(error.contains("is not proved by its own signature"), "{error}");
}

#[test]
fn documents_that_are_not_signed_are_refused() {
    let whole = fixture("rsa.InRelease");
    let wrong = [
        (RELEASE.to_owned(), "it is not signed"),
        (String::new(), "it is not signed"),
        (format!("x\n{whole}"), "it is not signed"),
        (format!("{whole}x\n"), "something stands behind its signature"),
        (whole.replace("-----END PGP SIGNATURE-----\n", ""), "its signature has no end"),
        (whole.replace("-----BEGIN PGP SIGNATURE-----", ""), "its signed text is broken"),
        (whole.replacen("Hash:", "Charset:", 1), "its signed text has an unknown head"),
        (whole.replace("Origin", "-Origin"), "its signed text is broken"),
        (whole.replace("stable", "sid"), "it was changed"),
    ];
    for (document, reason) in wrong {
        refused(clear(&document, &["rsa"], NOW), reason);
    }
    let large = vec![b'x'; (16 << 20) + 1];
    let error = verify(&large, None, fixture("rsa.key").as_bytes(), NOW).unwrap_err();
    assert_eq!(error, BadIndex::TooLarge("it is larger than 16 MiB"));
    for keyring in
        ["", "x", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n-----END PGP PUBLIC KEY BLOCK-----\n"]
    {
        let error = verify(whole.as_bytes(), None, keyring.as_bytes(), NOW).unwrap_err().to_string();
        assert_eq!(error, "the keyring has no OpenPGP key that can be used");
    }
    let error = verify(b"", Some(b"x"), fixture("rsa.key").as_bytes(), NOW).unwrap_err().to_string();
    assert_eq!(error, "its signature is not one of OpenPGP");
}
