//! Signatures of entries: that somebody who has a key vouches for what stands under a key.
//!
//! A key of larder's is a hash of inputs and says nothing of the image; a signature says that its
//! maker put this very image under this key. Made where an image is saved, and checked where it is
//! taken from another place. What came from elsewhere is not signed by the way.
//!
//! Source: RFC 8032 (Ed25519); RFC 8410 (its keys in PKCS #8 and `SubjectPublicKeyInfo`);
//! FORMAT.md, "Signatures".

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use storekit::images::entry::SIGNATURES;
use storekit::{Digest, Entry, Images, Key};

/// The algorithm, as a signature names it.
const ALGORITHM: &str = "ed25519";
/// What stands before the 32 bytes of a public key in its `SubjectPublicKeyInfo` (RFC 8410, section
/// 10.1).
const PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// A private key. Never shown.
pub struct Signer(Ed25519KeyPair);

/// A public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

impl Signer {
    /// Reads a private key in PEM, as `openssl genpkey -algorithm ed25519` writes it.
    ///
    /// # Errors
    /// Why it is none.
    pub fn from_pem(text: &str) -> Result<Self, String> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes())
            .map_err(|_| "it is no private key in PEM (PKCS #8, not encrypted)".to_owned())?;
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der())
            .map(Self)
            .map_err(|_| "it is no private key of Ed25519".to_owned())
    }

    /// The key that its signatures are checked with.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.0.public_key().as_ref());
        PublicKey(bytes)
    }

    /// Signs what a store has under the key. `false` where nothing is.
    ///
    /// # Errors
    /// Those of the store.
    pub fn sign_stored(&self, images: &Images, key: &Key) -> crate::Result<bool> {
        let inputs = images.inputs(key)?.map(|inputs| Digest::of(&inputs));
        Ok(images.change(key, |entry| self.sign(key, entry, inputs))?)
    }

    /// Whether it has signed what a store has under the key.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) fn has_signed(&self, images: &Images, key: &Key) -> crate::Result<bool> {
        let inputs = images.inputs(key)?.map(|inputs| Digest::of(&inputs));
        let entry = images.get(key)?;
        Ok(entry.is_some_and(|entry| is_signed(&[self.public()], key, &entry, inputs)))
    }

    /// Adds a signature to an entry that is to stand under the key, with these inputs, and leaves
    /// out those that are not of what the entry says now.
    pub(crate) fn sign(&self, key: &Key, entry: &mut Entry, inputs: Option<Digest>) {
        let statement = statement(key, entry, inputs);
        let own = self.public();
        let is_sound = |text: &String| {
            Signature::parse(text).is_some_and(|it| it.by != own && it.by.verifies(&statement, &it.value))
        };
        entry.signatures.retain(is_sound);
        let value = STANDARD.encode(self.0.sign(&statement));
        // More are not read: its own is not the one that is cut off.
        entry.signatures.truncate(SIGNATURES - 1);
        entry.signatures.insert(0, format!("{ALGORITHM} {own} {value}"));
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Signer").field(&self.public()).finish()
    }
}

impl PublicKey {
    /// Reads public keys in PEM, as `openssl pkey -pubout` writes them: one, or several in a file.
    ///
    /// # Errors
    /// Why one is none, or that there is none.
    pub fn all_from_pem(text: &str) -> Result<Vec<Self>, String> {
        let keys = SubjectPublicKeyInfoDer::pem_slice_iter(text.as_bytes()).map(|der| {
            let der = der.map_err(|_| "it is no public key in PEM".to_owned())?;
            let bytes = der.as_ref().strip_prefix(&PREFIX[..]);
            let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
            bytes.map(Self).ok_or_else(|| "it is no public key of Ed25519".to_owned())
        });
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() { Err("it is no public key in PEM".to_owned()) } else { Ok(keys) }
    }

    fn verifies(&self, statement: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(statement, signature).is_ok()
    }
}

/// In base64.
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

/// Whether one of these has signed what the entry says: that its image, with its names and these
/// inputs, stands under the key.
pub(crate) fn is_signed(trusted: &[PublicKey], key: &Key, entry: &Entry, inputs: Option<Digest>) -> bool {
    let statement = statement(key, entry, inputs);
    let signatures = entry.signatures.iter().filter_map(|text| Signature::parse(text));
    signatures
        .filter(|signature| trusted.contains(&signature.by))
        .any(|signature| signature.by.verifies(&statement, &signature.value))
}

/// What is signed: FORMAT.md, "Signatures".
fn statement(key: &Key, entry: &Entry, inputs: Option<Digest>) -> Vec<u8> {
    let storekit::Descriptor { media_type, digest, size, .. } = &entry.descriptor;
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let mut lines = vec![
        "larder entry 1".to_owned(),
        format!("key {key}"),
        format!("image {digest} {size} {}", quoted(media_type)),
    ];
    lines.extend(inputs.map(|inputs| format!("inputs {inputs}")));
    lines.extend(entry.adopted.then(|| "adopted".to_owned()));
    lines.extend(entry.names.iter().map(|name| format!("name {}", quoted(name))));
    (lines.join("\n") + "\n").into_bytes()
}

/// One signature of an entry.
struct Signature {
    by: PublicKey,
    value: Vec<u8>,
}

impl Signature {
    /// `None` for one of a kind that is not known here.
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let (ALGORITHM, Some(by), Some(value), None) =
            (words.next()?, words.next(), words.next(), words.next())
        else {
            return None;
        };
        let by = STANDARD.decode(by).ok()?.try_into().ok()?;
        Some(Self { by: PublicKey(by), value: STANDARD.decode(value).ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use storekit::Descriptor;

    const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
        -----END PRIVATE KEY-----\n";
    const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
        -----END PUBLIC KEY-----\n";

    fn entry() -> Entry {
        let image = Descriptor::new("application/vnd.oci.image.manifest.v1+json", Digest::of(b"image"), 5);
        let saved = "2026-01-02T03:04:05Z".parse().unwrap();
        Entry { names: vec!["app:1".to_owned()], ..Entry::new(image, saved) }
    }

    fn key() -> Key {
        "k1".parse().unwrap()
    }

    /// The keys of RFC 8410, section 10.
    fn signer() -> Signer {
        Signer::from_pem(PRIVATE).unwrap()
    }

    fn signed(inputs: Option<Digest>) -> Entry {
        let mut entry = entry();
        signer().sign(&key(), &mut entry, inputs);
        entry
    }

    #[test]
    fn the_keys_of_the_rfc_are_read() {
        assert_eq!(signer().public(), PublicKey::all_from_pem(PUBLIC).unwrap()[0]);
        assert_eq!(PublicKey::all_from_pem(&PUBLIC.repeat(2)).unwrap().len(), 2);
        assert!(!format!("{:?}", signer()).contains("1O5y"));
        for text in ["", PUBLIC, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
            assert!(Signer::from_pem(text).is_err(), "{text}");
        }
        for text in ["", PRIVATE, "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"] {
            assert!(PublicKey::all_from_pem(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_signed_is_as_documented() {
        let text = String::from_utf8(statement(&key(), &entry(), Some(Digest::of(b"inputs")))).unwrap();
        let (image, inputs) = (Digest::of(b"image"), Digest::of(b"inputs"));
        let kind = "application/vnd.oci.image.manifest.v1+json";
        assert_eq!(
            text,
            format!("larder entry 1\nkey k1\nimage {image} 5 \"{kind}\"\ninputs {inputs}\nname \"app:1\"\n")
        );
    }

    #[test]
    fn a_signature_is_of_one_image_under_one_key_by_one_signer() {
        let (entry, trusted) = (signed(None), [signer().public()]);
        assert!(is_signed(&trusted, &key(), &entry, None));
        assert!(!is_signed(&[], &key(), &entry, None));
        assert!(!is_signed(&[PublicKey([7; 32])], &key(), &entry, None));
        assert!(!is_signed(&trusted, &"k2".parse().unwrap(), &entry, None));
        assert!(!is_signed(&trusted, &key(), &entry, Some(Digest::of(b""))));
        let other = |change: fn(&mut Entry)| {
            let mut entry = entry.clone();
            change(&mut entry);
            is_signed(&trusted, &key(), &entry, None)
        };
        assert!(other(|_| {}));
        assert!(!other(|entry| entry.descriptor.digest = Digest::of(b"evil")));
        assert!(!other(|entry| entry.names.push("debian:12".to_owned())));
        assert!(!other(|entry| entry.names = vec!["app:1\"\nname \"debian:12".to_owned()]));
        assert!(!other(|entry| entry.adopted = true));
        assert!(!other(|entry| entry.signatures.clear()));
        assert!(!other(|entry| entry.signatures = vec!["ed25519 x y".to_owned(), String::new()]));
    }

    #[test]
    fn who_signs_again_keeps_what_others_signed_and_is_true() {
        let mut entry = signed(None);
        signer().sign(&key(), &mut entry, None);
        assert_eq!(entry.signatures.len(), 1);
        let generated = Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new()).unwrap();
        let other = Signer(Ed25519KeyPair::from_pkcs8(generated.as_ref()).unwrap());
        other.sign(&key(), &mut entry, None);
        assert_eq!(entry.signatures.len(), 2);
        entry.names.clear();
        other.sign(&key(), &mut entry, None);
        assert_eq!(entry.signatures.len(), 1, "the first was of other names");
        // Others cannot fill the list.
        for _ in 0..40 {
            let generated = Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new()).unwrap();
            Signer(Ed25519KeyPair::from_pkcs8(generated.as_ref()).unwrap()).sign(&key(), &mut entry, None);
        }
        signer().sign(&key(), &mut entry, None);
        assert_eq!(entry.signatures.len(), SIGNATURES);
        assert!(is_signed(&[signer().public()], &key(), &entry, None));
    }
}
