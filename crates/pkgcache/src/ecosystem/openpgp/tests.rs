//! Keys and signatures that `gpg` made, and what becomes of them at which time.
//!
//! They are in `fixtures.txt`, each behind a line with its name: public keys (`KEY.key`), a release
//! of January 2, 2026 that is signed by them in itself (`KEY.InRelease`) or beside it
//! (`KEY.Release.gpg`). `ed` and those that begin with `sub` sign by a subkey. The keys whose name
//! says so expire on February 1, 2026, or were revoked.

use std::fs::File;
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use larder_tests::{Part, have};
use proptest::prelude::*;

use super::packet::{packets, unarmored};
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
    let armored = [fixture("ed.key"), fixture("rsa.key")].concat();
    let binary = unarmored(armored.as_bytes(), "PUBLIC KEY BLOCK").unwrap();
    let document = fixture("rsa.InRelease").as_bytes();
    assert!(verify(document, None, &binary, NOW).is_ok());
    let signature = unarmored(fixture("rsa.Release.gpg").as_bytes(), "SIGNATURE").unwrap();
    let release = RELEASE.replace("stable\n", "stable  \t\n");
    assert!(verify(release.as_bytes(), Some(&signature), &binary, NOW).is_ok());
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
    let binary = |name: &str| unarmored(fixture(name).as_bytes(), "PUBLIC KEY BLOCK").unwrap();
    let (rsa, ed) = (binary("rsa.key"), binary("ed.key"));
    let packets = packets(&ed).unwrap();
    let (length, subkey) = (packets.len(), packets.iter().position(|it| it.tag == 14).unwrap());
    let mut keyring = rsa;
    for packet in &packets[subkey..length] {
        keyring.extend([0xc0 | packet.tag, 0xff]);
        keyring.extend(u32::try_from(packet.body.len()).unwrap().to_be_bytes());
        keyring.extend(packet.body);
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

/// A folder with a new key, of which only `gpg` knows the secret.
struct Gnupg(tempfile::TempDir);

impl Gnupg {
    fn new() -> Self {
        let gnupg = Self(tempfile::tempdir().unwrap());
        gnupg.run(&["--quick-gen-key", "a <a@keys.example>", "ed25519", "sign", "never"], b"").unwrap();
        gnupg
    }

    /// What it writes, if it succeeds.
    fn run(&self, args: &[&str], input: &[u8]) -> Option<Vec<u8>> {
        larder_tests::write(self.0.path().join("input"), input);
        let mut command = Command::new("gpg");
        command.args([
            "--batch",
            "--quiet",
            "--pinentry-mode",
            "loopback",
            "--passphrase",
            "",
            "--homedir",
            ".",
        ]);
        command.args(args).current_dir(self.0.path()).stdin(File::open(self.0.path().join("input")).unwrap());
        let output = command.stderr(Stdio::null()).output().unwrap();
        output.status.success().then_some(output.stdout)
    }
}

impl Drop for Gnupg {
    fn drop(&mut self) {
        let mut command = Command::new("gpgconf");
        let _ = command.args(["--homedir", ".", "--kill", "gpg-agent"]).current_dir(self.0.path()).status();
    }
}

/// Texts of lines that signed texts are picky about.
fn a_text(state: &mut u64) -> String {
    const PIECES: [&str; 16] = [
        "\n",
        "\n",
        "\n\n",
        "-",
        "- ",
        "-----BEGIN PGP SIGNATURE-----",
        "a",
        "b: c",
        " ",
        "\t",
        "\r\n",
        "From x",
        "é",
        "-----END",
        "Hash: SHA256",
        ".",
    ];
    let mut next = || {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(*state >> 33).unwrap()
    };
    let length = next() % 20;
    (0..length).map(|_| PIECES[next() % PIECES.len()]).collect()
}

#[test]
fn gpg_agrees_on_what_is_signed() {
    if !have(&[Part::Gnupg]) {
        return;
    }
    let gnupg = Gnupg::new();
    let keyring = gnupg.run(&["--export"], b"").unwrap();
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    let mut state = 1;
    for round in 0..12 {
        let text = a_text(&mut state);
        let mut document = gnupg.run(&["--clearsign"], text.as_bytes()).unwrap();
        let signature = gnupg.run(&["--armor", "--detach-sign"], text.as_bytes()).unwrap();
        assert_eq!(verify(text.as_bytes(), Some(&signature), &keyring, now).as_deref(), Ok(text.as_bytes()));
        let found = String::from_utf8(verify(&document, None, &keyring, now).unwrap()).unwrap();
        let lines = |text: &str| text.trim_end().lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
        assert_eq!(lines(&found), lines(&text), "round {round}");
        let place = usize::try_from(state >> 33).unwrap() % document.len();
        document[place] ^= 1;
        // What is taken all the same is what was signed: a change of the armor, or of blanks.
        if let Ok(taken) = verify(&document, None, &keyring, now) {
            assert_eq!(String::from_utf8(taken).unwrap(), found, "byte {place}");
        }
    }
}

static BINARY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let keys = ["ed", "expired", "subrevoked", "uidrevoked"].map(|key| fixture(&format!("{key}.key")));
    unarmored(keys.concat().as_bytes(), "PUBLIC KEY BLOCK").unwrap()
});

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
}
