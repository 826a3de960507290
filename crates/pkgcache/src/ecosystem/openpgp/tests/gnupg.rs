//! What real programs make, and what they say of it: `gpg` and `gpgv`.

use std::fs::File;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use larder_tests::{Part, have};

use super::{Block, RELEASE, binary, fixture};
use crate::ecosystem::apt::signature::verify;

/// A folder with a new key, of which only `gpg` knows the secret.
struct Gnupg(tempfile::TempDir);

impl Gnupg {
    fn new(algorithm: &str) -> Self {
        let gnupg = Self(tempfile::tempdir().unwrap());
        gnupg.run(&["--quick-gen-key", "a <a@keys.example>", algorithm, "sign", "never"], b"").unwrap();
        gnupg
    }

    /// Its public key, and the signature that it makes beside the document with these options.
    fn signed(&self, document: &[u8], options: &[&str]) -> Case {
        let signature = self.run(&[options, &["--detach-sign"]].concat(), document).unwrap();
        let keyring = self.run(&["--export"], b"").unwrap();
        Case { document: document.to_vec(), signature: Some(signature), keyring }
    }

    /// One whose key expired, and before that said something of itself that does not speak of time:
    /// whose key may revoke it.
    fn that_named_a_revoker() -> (Self, Vec<u8>) {
        let gnupg = Self(tempfile::tempdir().unwrap());
        for (name, lasts) in [("a <a@keys.example>", "1y"), ("b <b@keys.example>", "never")] {
            gnupg
                .run(
                    &[
                        "--faked-system-time",
                        "20240101T000000",
                        "--quick-gen-key",
                        name,
                        "ed25519",
                        "sign",
                        lasts,
                    ],
                    b"",
                )
                .unwrap();
        }
        let edit =
            ["--faked-system-time", "20240301T000000", "--command-fd", "0", "--edit-key", "a@keys.example"];
        gnupg.run(&edit, b"addrevoker\nb@keys.example\ny\nsave\n").unwrap();
        let keyring = gnupg.run(&["--export", "a@keys.example"], b"").unwrap();
        (gnupg, keyring)
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

/// Seconds since 1970.
fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

#[test]
fn gpg_agrees_on_what_is_signed() {
    if !have(&[Part::Gnupg]) {
        return;
    }
    for algorithm in ["ed25519", "nistp256", "nistp521"] {
        agrees(&Gnupg::new(algorithm));
    }
}

fn agrees(gnupg: &Gnupg) {
    let keyring = gnupg.run(&["--export"], b"").unwrap();
    let now = now();
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

/// A document, its signature if that is beside it, and a binary keyring.
struct Case {
    document: Vec<u8>,
    signature: Option<Vec<u8>>,
    keyring: Vec<u8>,
}

impl Case {
    /// Of fixtures: a release that is signed in itself, and keys.
    fn of(document: &str, keys: &[&str]) -> Self {
        Self { document: document.as_bytes().to_vec(), signature: None, keyring: keyring(keys) }
    }

    /// The same with a signature beside it.
    fn beside(document: &str, signature: Vec<u8>, keys: &[&str]) -> Self {
        Self { signature: Some(signature), ..Self::of(document, keys) }
    }

    /// Whether the document counts as signed here.
    fn counts(&self) -> bool {
        verify(&self.document, self.signature.as_deref(), &self.keyring, now()).is_ok()
    }

    /// Whether apt takes what `gpgv` says for a good signature: one is, by a hash that apt trusts,
    /// and none is bad.
    fn counts_to_gpgv(&self) -> bool {
        let folder = tempfile::tempdir().unwrap();
        let files = [
            ("document", Some(&self.document)),
            ("keys.gpg", Some(&self.keyring)),
            ("sig", self.signature.as_ref()),
        ];
        for (name, bytes) in files.iter().filter_map(|(name, bytes)| Some((name, (*bytes)?))) {
            larder_tests::write(folder.path().join(name), bytes);
        }
        let mut command = Command::new("gpgv");
        command.args(["--homedir", ".", "--status-fd", "1", "--keyring", "./keys.gpg"]);
        command.args(self.signature.iter().map(|_| "sig")).arg("document");
        let output = command.current_dir(folder.path()).stderr(Stdio::null()).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let lines = || said.lines().map(|line| line.split(' ').skip(1).collect::<Vec<_>>());
        let (mut good, mut current) = (false, "");
        for line in lines() {
            match line.as_slice() {
                [kind @ ("GOODSIG" | "EXPSIG" | "EXPKEYSIG" | "REVKEYSIG"), ..] => current = kind,
                // The hash by its number: SHA-2.
                ["VALIDSIG", .., "8" | "9" | "10" | "11", _, _] => good |= current == "GOODSIG",
                _ => {}
            }
        }
        good && !lines().any(|line| line.first() == Some(&"BADSIG"))
    }
}

fn keyring(keys: &[&str]) -> Vec<u8> {
    let armored: String = keys.iter().map(|key| fixture(&format!("{key}.key"))).collect();
    binary(&armored, Block::Keys)
}

fn signature(name: &str) -> Vec<u8> {
    binary(fixture(&format!("{name}.Release.gpg")), Block::Signatures)
}

/// The signatures of an `InRelease`.
fn inner(name: &str) -> Vec<u8> {
    let document = fixture(&format!("{name}.InRelease"));
    binary(&document[document.find("-----BEGIN PGP SIGNATURE").unwrap()..], Block::Signatures)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    /// Both take it.
    Good,
    /// Neither does.
    Bad,
    /// apt and `gpgv` do; here it does not count.
    Stricter,
    /// They do not; here it counts.
    Laxer,
}

/// The release as it was when it was signed beside it.
fn release() -> String {
    RELEASE.replace("stable\n", "stable  \t\n")
}

/// What is told of each case, and why where it is not the same.
fn cases() -> Vec<(&'static str, Case, Says)> {
    use Says::{Bad, Good, Laxer, Stricter};
    let (release, whole) = (release(), |name: &str| fixture(&format!("{name}.InRelease")));
    let clear = |name: &str, keys: &[&str]| Case::of(whole(name), keys);
    let beside = |name: &str, keys: &[&str]| Case::beside(&release, signature(name), keys);
    let changed = |from: &str, to: &str| Case::of(&whole("rsa").replacen(from, to, 1), &["rsa"]);
    let end = "-----END PGP SIGNATURE-----\n";
    vec![
        ("RSA", clear("rsa", &["rsa"]), Good),
        ("Ed25519, by a subkey", clear("ed", &["ed"]), Good),
        ("P-256", clear("p256", &["p256"]), Good),
        ("P-384", clear("p384", &["p384"]), Good),
        ("RSA, beside it", beside("rsa", &["rsa"]), Good),
        ("Ed25519, beside it", beside("ed", &["ed"]), Good),
        ("text mode, beside it", beside("textmode", &["rsa"]), Good),
        ("among other keys", clear("rsa", &["ed", "expired", "rsa", "p256"]), Good),
        ("escaped dashes", clear("dashes", &["ed"]), Good),
        ("lines that end in CR LF", Case::of(&whole("rsa").replace('\n', "\r\n"), &["rsa"]), Good),
        ("a comment in the armor", changed("SIGNATURE-----\n", "SIGNATURE-----\nComment: x\n"), Good),
        ("another text", changed("stable", "sid"), Bad),
        ("another document", Case::beside("other", signature("rsa"), &["rsa"]), Bad),
        ("a line more", changed("Suite", "More: x\nSuite"), Bad),
        ("an unknown key", clear("rsa", &["ed"]), Bad),
        ("an unknown key, beside it", beside("rsa", &["ed"]), Bad),
        ("an expired key", clear("expired", &["expired"]), Bad),
        ("an expired subkey", clear("subexpired", &["subexpired"]), Bad),
        ("a key whose time was extended", clear("extended", &["extended"]), Good),
        ("an expired signature", clear("sigexpired", &["rsa"]), Bad),
        ("a revoked key", clear("revoked", &["revoked"]), Bad),
        ("the same before that was known", clear("revoked", &["unrevoked"]), Good),
        ("a revoked subkey", clear("subrevoked", &["subrevoked"]), Bad),
        ("a revoked name", clear("uidrevoked", &["uidrevoked"]), Good),
        ("SHA-1", clear("sha1", &["rsa"]), Bad),
        ("SHA-1, beside it", beside("sha1", &["rsa"]), Bad),
        ("two signatures, the first one's key", clear("both", &["rsa"]), Good),
        ("two signatures, the second one's key", clear("both", &["ed"]), Good),
        ("two signatures, both keys", clear("both", &["ed", "rsa"]), Good),
        ("two signatures, neither key", clear("both", &["p256"]), Bad),
        (
            "a good signature and a bad one of a known key",
            Case::beside(&release, [signature("textmode"), inner("dashes")].concat(), &["rsa", "ed"]),
            Bad,
        ),
        (
            "a good signature and a bad one of an unknown key",
            Case::beside(&release, [signature("textmode"), inner("dashes")].concat(), &["rsa"]),
            Good,
        ),
        ("no signature", Case::of(RELEASE, &["rsa"]), Bad),
        ("an empty signature", Case::beside(&release, Vec::new(), &["rsa"]), Bad),
        ("half a signature", Case::beside(&release, signature("rsa")[..100].to_vec(), &["rsa"]), Bad),
        // apt itself splits a release, and refuses what stands around it, as it is refused here.
        ("text behind the signature", changed(end, &format!("{end}x\n")), Stricter),
        (
            "text before the signed text",
            changed("-----BEGIN PGP SIGNED", "x\n-----BEGIN PGP SIGNED"),
            Stricter,
        ),
        (
            "garbage behind the signature",
            Case::beside(&release, [signature("rsa"), vec![0; 9]].concat(), &["rsa"]),
            Stricter,
        ),
        // Broken for years now: newer releases of apt refuse them, too.
        ("a key that is proved by SHA-1", clear("weakself", &["weakself"]), Stricter),
        ("DSA", clear("dsa", &["dsa"]), Stricter),
        ("RSA with 1024 bits", clear("small", &["small"]), Stricter),
        // The signature proves more than the checksum of its armor.
        ("a wrong checksum of the armor", changed("\n=5FED", "\n=AAAA"), Laxer),
    ]
}

#[test]
fn gpgv_gives_the_same_verdicts() {
    if !have(&[Part::Gnupg]) {
        return;
    }
    let mut wrong = Vec::new();
    for (name, case, says) in cases() {
        check(&mut wrong, name, &case, says);
    }
    let document = b"text\n";
    for (algorithm, says) in [("nistp521", Says::Good), ("brainpoolP256r1", Says::Stricter)] {
        check(&mut wrong, algorithm, &Gnupg::new(algorithm).signed(document, &[]), says);
    }
    let gnupg = Gnupg::new("ed25519");
    for (name, options, says) in [
        ("SHA-384", &["--digest-algo", "SHA384"][..], Says::Good),
        ("SHA-224", &["--digest-algo", "SHA224"], Says::Stricter),
        ("a note", &["--sig-notation", "a@b=c"], Says::Good),
        ("a note that wants to be understood", &["--sig-notation", "!a@b=c"], Says::Bad),
        ("a policy", &["--sig-policy-url", "http://policy.example"], Says::Good),
        ("a time to come", &["--faked-system-time", "20990101T000000"], Says::Stricter),
    ] {
        check(&mut wrong, name, &gnupg.signed(document, options), says);
    }
    let (gnupg, keyring) = Gnupg::that_named_a_revoker();
    let options = ["--faked-system-time", "20240401T000000", "--local-user", "a@keys.example"];
    let case = Case { keyring, ..gnupg.signed(document, &options) };
    check(&mut wrong, "an expired key that named a revoker", &case, Says::Bad);
    // It is not that gpg made nothing that could be read.
    let early = verify(&case.document, case.signature.as_deref(), &case.keyring, 1_711_929_700);
    assert!(early.is_ok(), "{early:?}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn check(wrong: &mut Vec<String>, name: &str, case: &Case, says: Says) {
    let found = match (case.counts_to_gpgv(), case.counts()) {
        (true, true) => Says::Good,
        (false, false) => Says::Bad,
        (true, false) => Says::Stricter,
        (false, true) => Says::Laxer,
    };
    if found != says {
        wrong.push(format!("{name}: {found:?} and not {says:?}"));
    }
}
