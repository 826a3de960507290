//! Tests: indexes and packages that are made member by member.

use std::io::{Cursor, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use storekit::{Checksum, Digest};

use super::{members, signature, split, vouch};
use crate::ecosystem::BadIndex;
use crate::ecosystem::table::{Said, Table, TableBuilder};

/// An RSA key of 2048 bits, for these tests alone, and its public half.
const KEY: &[u8] = include_bytes!("test-key.der");
pub(crate) const PUBLIC: &str = include_str!("test-key.pub");

/// A gzip member with a tar of this file, which has an end or not.
fn packed(name: &str, text: &[u8], ends: bool) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(text.len() as u64);
    header.set_cksum();
    tar.append_data(&mut header, name, text).unwrap();
    let bytes = if ends { tar.into_inner().unwrap() } else { tar.get_ref().clone() };
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(&bytes).unwrap();
    gzip.finish().unwrap()
}

/// A package with this in its data, and its control member's SHA-1.
pub(crate) fn package(data: &str) -> (Vec<u8>, Checksum) {
    let data = packed("usr/share/it", data.as_bytes(), true);
    let info =
        format!("# made by a test\npkgname = it\npkgver = 1.0-r0\ndatahash = {}\n", Digest::of(&data).hex());
    let control = packed(".PKGINFO", info.as_bytes(), false);
    let sum = sha1(&control);
    ([packed(".SIGN.RSA.key.rsa.pub", b"not looked at", false), control, data].concat(), sum)
}

fn sha1(bytes: &[u8]) -> Checksum {
    let mut hasher = Checksum::Sha1([0; 20]).hasher(None);
    hasher.update(bytes);
    hasher.finish().unwrap()
}

/// An index that names the package, signed.
pub(crate) fn index(sum: Checksum, size: usize) -> Vec<u8> {
    let sum = STANDARD.encode(sum.bytes());
    let text =
        format!("C:Q1{sum}\nP:it\nV:1.0-r0\nA:x86_64\nS:{size}\nT:a thing\n\nP:other\nV:2-r1\nC:Q9AA==\n\n");
    let index = packed("APKINDEX", text.as_bytes(), true);
    let key = RsaKeyPair::from_der(KEY).unwrap();
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), &index, &mut signature).unwrap();
    [packed(".SIGN.RSA256.key.rsa.pub", &signature, false), index].concat()
}

fn table(index: &[u8]) -> Result<Table, BadIndex> {
    let mut table = TableBuilder::default();
    vouch(&mut &*index, &mut table).map(|()| table.finish())
}

#[test]
fn a_files_name_has_a_package_and_a_version() {
    assert_eq!(split("musl-1.2.5-r0"), Some(("musl", "1.2.5-r0")));
    assert_eq!(split("py3-a-b-1.0_alpha2-r10"), Some(("py3-a-b", "1.0_alpha2-r10")));
    for wrong in ["", "musl", "musl-r0", "-1-r0", "musl-1.2.5", "musl-x-r0", "musl-1-0"] {
        assert_eq!(split(wrong), None, "{wrong}");
    }
}

#[test]
fn an_index_names_packages_by_their_control_members() {
    let (package, sum) = package("data");
    let table = table(&index(sum, package.len())).unwrap();
    let Some(Said::File(found)) = table.get("it-1.0-r0") else { panic!("it is not there") };
    assert_eq!((found.checksum, found.size), (Some(sum), Some(package.len() as u64)));
    let Some(Said::File(other)) = table.get("other-2-r1") else { panic!("it is not there") };
    assert_eq!((other.checksum, table.len()), (None, 2));
    for wrong in [b"".as_slice(), b"<html>", &packed("DESCRIPTION", b"x", true), &package] {
        assert!(self::table(wrong).is_err());
    }
}

#[test]
fn a_package_is_known_by_its_control_member_and_that_by_its_data() {
    let (whole, sum) = package("data");
    let control = |bytes: &[u8]| members::control(&mut Cursor::new(bytes), sum);
    assert_eq!(control(&whole), Ok(sum));
    // Without a signature it is the same package.
    let signature = packed(".SIGN.RSA.key.rsa.pub", b"not looked at", false).len();
    assert_eq!(control(&whole[signature..]), Ok(sum));
    let (other, _) = package("other data");
    assert_ne!(control(&other), Ok(sum));
    // The data of the one behind the control member of the other.
    let data = packed("usr/share/it", b"other data", true);
    let length = whole.len() - packed("usr/share/it", b"data", true).len();
    assert!(control(&[&whole[..length], &data].concat()).unwrap_err().contains("its data is not"));
    assert!(control(&[&whole[..], b"more"].concat()).is_err());
    assert!(control(&whole[..length - 9]).is_err() && control(b"").is_err());
}

#[test]
fn an_index_counts_as_signed_by_one_of_the_keys_alone() {
    let (package, sum) = package("data");
    let index = index(sum, package.len());
    let keys = format!("{}{PUBLIC}", PUBLIC.replacen("MIIB", "MIIC", 1));
    signature::verify(&index, keys.as_bytes()).unwrap();
    let unsigned = packed("APKINDEX", b"P:it\n", true);
    let mut damaged = index.clone();
    *damaged.last_mut().unwrap() ^= 1;
    for (index, keys) in [
        (&index, ""),
        (&index, "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"),
        (&unsigned, PUBLIC),
        (&damaged, PUBLIC),
    ] {
        assert!(signature::verify(index, keys.as_bytes()).is_err());
    }
}
