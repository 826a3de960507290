//! Disk images: what goes in comes out, holes and all, and two versions of a disk share what they
//! have in common.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::process::Stdio;

use camino::Utf8PathBuf;
use larder_tests::{Part, Ran, have};
use serde_json::{Value, json};
use storekit::Digest;

use crate::kit::session::Session;

const MIB: u64 = 1 << 20;

/// A raw disk of 40 MiB with data in some places and holes in the others.
fn raw(session: &Session, name: &str) -> Utf8PathBuf {
    let path = session.path(name);
    let file = File::create(&path).unwrap();
    file.set_len(40 * MIB + 700).unwrap();
    for (at, length) in [(0, 3000), (5 * MIB + 123, 2 * MIB), (13 * MIB, 12 * MIB), (40 * MIB + 600, 50)] {
        let bytes: Vec<u8> =
            (0..length).map(|byte: u64| ((byte * at / 7 + byte * byte) % 251) as u8 + 1).collect();
        file.write_all_at(&bytes, at).unwrap();
    }
    path
}

#[track_caller]
fn same(session: &Session, one: &str, other: &str) {
    Ran::of(session.program("cmp").args([session.path(one), session.path(other)])).ok();
}

/// How many chunks were written and how many were there.
fn chunks(session: &Session, words: &str) -> (u64, u64) {
    let line = session.run(&format!("{words} --json")).ok().json();
    (line["chunks_written"].as_u64().unwrap(), line["chunks_reused"].as_u64().unwrap())
}

#[test]
fn a_raw_disk_comes_out_as_it_went_in() {
    let session = Session::new();
    let path = raw(&session, "disk.raw");
    session.run("import k disk.raw").ok().says("raw disk of");
    session.run("export k out.raw").ok();
    same(&session, "disk.raw", "out.raw");
    // Holes stay holes.
    let blocks = |name: &str| fs::metadata(session.path(name)).unwrap().blocks();
    assert!(blocks("out.raw") <= blocks("disk.raw") + 8 && blocks("out.raw") < 40_000);
    let piped = session.run("export k -").ok().bytes().to_vec();
    assert_eq!(piped, fs::read(&path).unwrap());
    let packed = session.run("export k --compress zstd").ok().bytes().to_vec();
    assert_eq!(zstd::decode_all(&packed[..]).unwrap(), piped);
    session.feed("import piped - --type raw", &piped).ok();
    let digest = |key: &str| session.run(&format!("info {key} --json")).ok().json()["digest"].clone();
    assert_eq!(digest("k"), digest("piped"));
    session.run("verify").ok();
    session.run("rm k").ok();
    session.run("export k out.raw").ends(1);
}

#[test]
fn odd_sizes_come_back() {
    let session = Session::new();
    for size in [0_u64, 1, 4095, 4096, 4 * MIB - 1, 4 * MIB, 4 * MIB + 1, 9 * MIB] {
        for byte in [0_u8, 1] {
            let bytes = vec![byte; usize::try_from(size).unwrap()];
            session.write("disk.img", &bytes);
            session.run("import k disk.img --force").ok();
            session.run("export k out").ok();
            assert!(fs::read(session.path("out")).unwrap() == bytes, "{size} {byte}");
            session.run("export k -").ok();
        }
    }
}

#[test]
fn versions_share_chunks() {
    let session = Session::new();
    let path = raw(&session, "disk.raw");
    assert_eq!(chunks(&session, "import one disk.raw"), (7, 0));
    assert_eq!(chunks(&session, "import one disk.raw"), (0, 0));
    File::options().write(true).open(&path).unwrap().write_all_at(b"changed", 14 * MIB).unwrap();
    assert_eq!(chunks(&session, "import two disk.raw"), (1, 6));
    session.run("export two out").ok();
    same(&session, "disk.raw", "out");
    // A damaged chunk is written anew, and until then nothing comes out.
    flip(&chunk(&session, "two"));
    session.write("out", "before");
    session.run("export two out").ends(3).says("damaged");
    assert_eq!(fs::read(session.path("out")).unwrap(), b"before");
    session.run("has two").ends(3);
    assert_eq!(chunks(&session, "import two disk.raw").0, 1);
    session.run("export two out").ok();
    same(&session, "disk.raw", "out");
    flip(&chunk(&session, "two"));
    session.run("export two -").ends(3);
}

/// A chunk of the disk.
fn chunk(session: &Session, key: &str) -> Utf8PathBuf {
    let manifest = session.run(&format!("info {key} --manifest")).ok().json();
    let digest = manifest["layers"][2]["digest"].as_str().unwrap();
    session.path("../store/images/blobs/sha256").join(digest.trim_start_matches("sha256:"))
}

fn flip(path: &Utf8PathBuf) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn qemu_img(session: &Session, words: &str) -> bool {
    if !have(&[Part::QemuImg]) {
        return false;
    }
    Ran::of(session.program("qemu-img").args(words.split(' '))).ok();
    true
}

#[test]
fn real_qcow2_files_come_back() {
    let session = Session::new();
    raw(&session, "disk.raw");
    for (flags, key) in
        [("", "plain"), ("-c ", "packed"), ("-o compat=0.10 ", "old"), ("-o cluster_size=2M ", "large")]
    {
        if !qemu_img(&session, &format!("convert -f raw -O qcow2 {flags}disk.raw {key}.qcow2")) {
            return;
        }
        session.run(&format!("import {key} {key}.qcow2")).ok().says("qcow2 disk of");
        session.run(&format!("export {key} out.qcow2")).ok();
        same(&session, &format!("{key}.qcow2"), "out.qcow2");
        qemu_img(&session, "check out.qcow2");
        qemu_img(&session, "compare -f raw -F qcow2 disk.raw out.qcow2");
        let info = session.run(&format!("info {key} --json")).ok().json();
        assert_eq!(info["disk"]["format"], "qcow2");
        assert_eq!(info["disk"]["virtual_bytes"].as_u64().unwrap(), (40 * MIB + 700).next_multiple_of(512));
        assert!(info["bytes"].as_u64().unwrap() < 15 * MIB);
        assert!(session.run(&format!("info {key}")).ok().stdout().contains("disk      qcow2, "));
    }
    // Through a pipe it is known by its first bytes, whatever it is called.
    session.feed("import piped", &fs::read(session.path("plain.qcow2")).unwrap()).ok().says("qcow2 disk");
    fs::rename(session.path("plain.qcow2"), session.path("other.img")).unwrap();
    session.run("import named other.img").ok().says("qcow2 disk");
    qemu_img(&session, "create -q -f qcow2 -b other.img -F qcow2 child.qcow2");
    session.run("import child child.qcow2").ok().says("complete only with `other.img`");
    assert!(session.run("info child").ok().stdout().contains("backing   other.img (not stored)"));
    assert_eq!(session.run("info child --json").ok().json()["disk"]["backing_file"], "other.img");
    qemu_img(&session, "create -q -f qcow2 -o data_file=data.raw,data_file_raw=on outside.qcow2 8M");
    session.run("import outside outside.qcow2").ok().says("the disk's bytes are in `data.raw`");
    assert!(session.run("info outside").ok().stdout().contains("data      in data.raw (not stored)"));
    assert_eq!(session.run("info outside --json").ok().json()["disk"]["data_file"], "data.raw");
    session.run("verify").ok();
}

#[test]
fn a_compressed_disk_is_the_disk_inside() {
    let session = Session::new();
    let disk = fs::read(raw(&session, "disk.raw")).unwrap();
    session.run("import k disk.raw").ok();
    session.write("disk.raw.gz", crate::kit::tars::gzip(&disk));
    session.write("disk.img.zst", crate::kit::tars::zstd(&disk));
    let digest = |key: &str| session.run(&format!("info {key} --json")).ok().json()["digest"].clone();
    for name in ["disk.raw.gz", "disk.img.zst"] {
        session.run(&format!("import other {name} --force")).ok().says("raw disk of");
        assert_eq!(digest("other"), digest("k"));
    }
    let head = [&b"QFI\xfb\0\0\0\x02"[..], &[0; 12], &16_u32.to_be_bytes(), &9_u64.to_be_bytes(), &[0; 600]]
        .concat();
    let packed = crate::kit::tars::gzip(&head);
    session.write("a.qcow2.gz", &packed);
    session.run("import q a.qcow2.gz").ok().says("qcow2 disk");
    session.run("import told a.qcow2.gz --type qcow2").ok().says("qcow2 disk");
    session.feed("import piped", &packed).ok().says("qcow2 disk");
    assert_eq!([digest("piped"), digest("told")], [digest("q"), digest("q")]);
    // An archive stays one, whatever its file is called; what is neither is said to be that.
    let tar = crate::kit::tars::docker("app:1", &[&crate::kit::tars::layer("a", "b")]).end();
    session.write("app.tar.gz", crate::kit::tars::gzip(&tar));
    session.run("import a app.tar.gz").ok().says("image");
    session.write("disk.bin.gz", crate::kit::tars::gzip(&[7; 5000]));
    session
        .run("import b disk.bin.gz")
        .ends(2)
        .says("is compressed, and not a tar inside")
        .says("--type raw");
    // The bytes as they are, where that is asked for.
    session.write("cut.raw.gz", &crate::kit::tars::gzip(&disk)[..200]);
    session.run("import cut cut.raw.gz").ends(2).says("cannot import `cut.raw.gz`").says("is cut off");
    session.run("import bytes disk.raw.gz --type raw").ok();
    session.run("export bytes out").ok();
    same(&session, "disk.raw.gz", "out");
}

#[test]
fn a_compression_that_is_not_read_is_named_with_the_command_that_helps() {
    let session = Session::new();
    for (name, head, says) in [
        ("app.tar.xz", &b"\xfd7zXZ\0\0\x04"[..], "`xz -dc app.tar.xz | imgtar import KEY -`"),
        ("disk.raw.xz", b"\xfd7zXZ\0\0\x04", "`xz -dc disk.raw.xz | imgtar import KEY - --type raw`"),
        ("my disk.img.bz2", b"BZh91AY&SY", "`bzip2 -dc 'my disk.img.bz2' | imgtar import KEY - --type raw`"),
        ("app.tar.lz4", b"\x04\x22\x4d\x18", "`lz4 -dc app.tar.lz4 | imgtar import KEY -`"),
    ] {
        session.write(name, [head, &[9; 600]].concat());
        let import = |more: &[&str]| {
            let mut command = session.command("import k");
            larder_tests::Ran::of(command.arg(name).args(more)).ends(2)
        };
        import(&[]).says("which is not read").says(says);
    }
    session.feed("import k", b"\xfd7zXZ\0\0\x04").ends(2).says("`xz -dc | imgtar import KEY -`");
    session.run("import k app.tar.xz --type archive").ends(2).says("is compressed with xz");
    session.run("pack k app.tar.xz").ends(2).says("`xz -dc app.tar.xz | imgtar pack KEY -`");
    session.run("has k").ends(1);
}

#[test]
fn disks_of_other_formats_are_refused_by_name() {
    let session = Session::new();
    raw(&session, "disk.raw");
    for (format, called) in [("vmdk", "vmdk"), ("vdi", "vdi"), ("vhdx", "vhdx"), ("vpc", "vhd")] {
        if !qemu_img(&session, &format!("convert -f raw -O {format} disk.raw disk.{called}")) {
            return;
        }
        let remedy = format!("`qemu-img convert -f {format} -O qcow2 disk.{called} disk.qcow2`");
        let says = format!("`disk.{called}` is a disk in the format {called}");
        session.run(&format!("import k disk.{called}")).ends(2).says(&says).says(&remedy);
        // The remedy works.
        qemu_img(&session, &format!("convert -f {format} -O qcow2 disk.{called} disk.qcow2"));
        session.run(&format!("import {called} disk.qcow2")).ok();
        let bytes = fs::read(session.path(&format!("disk.{called}"))).unwrap();
        session.feed("import k", &bytes).ends(2).says(&format!("in the format {called}"));
        session.write("packed.gz", crate::kit::tars::gzip(&bytes[..4096]));
        session.run("import k packed.gz").ends(2).says(&format!("in the format {called}"));
        session.run(&format!("import any disk.{called} --type raw --force")).ok();
    }
    // One of a fixed size has its mark at its end.
    qemu_img(&session, "convert -f raw -O vpc -o subformat=fixed disk.raw fixed.vhd");
    session.run("import k fixed.vhd").ends(2).says("in the format vhd");
    session.run("has k").ends(1);
}

/// Where holes are no holes, this test fails before it has filled a disk.
#[test]
fn a_disk_of_nothing_costs_nothing() {
    let session = Session::new();
    File::create(session.path("empty.raw")).unwrap().set_len(2 << 30).unwrap();
    session.run("import k empty.raw").ok();
    assert!(session.run("info k --json").ok().json()["bytes"].as_u64().unwrap() < 2000);
    session.run("export k out").ok();
    let found = fs::metadata(session.path("out")).unwrap();
    assert_eq!((found.len(), found.blocks() < 100), (2 << 30, true));
}

#[test]
fn what_a_file_is_is_never_guessed_in_silence() {
    let session = Session::new();
    let tar = crate::kit::tars::docker("app:1", &[&crate::kit::tars::layer("a", "b")]).end();
    session.write("archive.img", &tar);
    session.run("import k archive.img").ends(2).says("`--type raw` or `--type archive`");
    session.run("import a archive.img --type archive").ok().says("image");
    session.run("import r archive.img --type raw").ok().says("raw disk");
    session.run("export r out").ok();
    same(&session, "archive.img", "out");
    session.write("disk", vec![7; 5000]);
    session.run("import k disk").ends(2).says("`--type raw`");
    session.run("import k disk --type qcow2").ends(2).says("not a qcow2");
    session.write("one.qcow2", b"QFI\xfb\0\0\0\x01");
    session.run("import k one.qcow2").ends(2).says("version");
    session.write("zeros.qcow2", vec![0; 5000]);
    session.run("import k zeros.qcow2 --type qcow2").ends(2).says("not a qcow2");
    // A piped disk has no name to go by, and its first sector may be empty.
    session.feed("import k", &[0; 5000]).ends(2).says("nothing but zeros").says("`--type raw`");
    session.run("has k").ends(1);
}

#[test]
fn a_disk_is_no_container_image() {
    let session = Session::new();
    raw(&session, "disk.raw");
    session.run("import k disk.raw").ok();
    session.run("load k").ends(2).says("no container image");
    session.run("extract k /etc -C out").ends(2).says("no container image");
    assert!(session.run("ls").ok().stdout().contains("raw file"));
    let row = session.run("ls --json").ok().json();
    assert_eq!(
        row["disk"],
        json!({ "format": "raw", "virtual_bytes": 40 * MIB + 700, "file_bytes": 40 * MIB + 700, "chunks": 7 })
    );
}

/// Puts a disk's manifest of another's making under the key `k`.
fn forge(session: &Session, change: &dyn Fn(&mut Value)) {
    let images = session.store().images();
    let entry = images.get(&"sound".parse().unwrap()).unwrap().unwrap();
    let bytes = images.blobs().read(&entry.descriptor.digest, 1 << 20).unwrap();
    let mut manifest: Value = serde_json::from_slice(&bytes).unwrap();
    change(&mut manifest);
    let bytes = manifest.to_string();
    let digest = Digest::of(bytes.as_bytes());
    session.write(&format!("../store/images/blobs/sha256/{}", digest.hex()), &bytes);
    let text = fs::read_to_string(session.path("../store/images/keys/sound")).unwrap();
    let text = text.replace(&entry.descriptor.digest.to_string(), &digest.to_string());
    let size = format!("size = {}", entry.descriptor.size);
    session.write("../store/images/keys/k", text.replace(&size, &format!("size = {}", bytes.len())));
}

#[test]
fn manifests_that_lie_are_refused() {
    let session = Session::new();
    raw(&session, "disk.raw");
    session.run("import sound disk.raw").ok();
    let offset = "dev.larder.disk.offset";
    let refused = |change: &dyn Fn(&mut Value)| {
        forge(&session, change);
        session.run("export k out").ends(3);
        assert!(!session.path("out").exists());
        session.run("info k").ends(3);
        session.run("verify k").ends(3);
        session.run("ls").ok();
    };
    refused(&|it| it["layers"][0]["annotations"][offset] = json!("1"));
    refused(&|it| it["layers"][0]["annotations"][offset] = json!("18446744073705357312"));
    refused(&|it| it["layers"][1]["annotations"][offset] = json!("0"));
    refused(&|it| it["layers"][0]["annotations"][offset] = json!(null));
    refused(&|it| it["annotations"]["dev.larder.disk.size"] = json!("18446744073709551615"));
    refused(&|it| it["annotations"]["dev.larder.disk.size"] = json!("5"));
    refused(&|it| it["annotations"]["dev.larder.disk.size"] = json!((1_u64 << 63).to_string()));
    refused(&|it| it["annotations"]["dev.larder.disk.virtual-size"] = json!("18446744073709551616"));
    refused(&|it| it["layers"][6]["size"] = json!(u64::MAX));
    refused(&|it| it["layers"] = json!([it["layers"][0], it["layers"][0]]));
    refused(&|it| it["annotations"]["dev.larder.disk.chunk-size"] = json!("8388608"));
    refused(&|it| it["layers"][0]["mediaType"] = json!("application/octet-stream"));
    forge(&session, &|it| it["artifactType"] = json!("application/vnd.larder.disk.raw.v2"));
    session.run("export k out").ends(2).says("update imgtar");
    // A chunk in another's place, and one that unpacks to more.
    forge(&session, &|it| {
        let (one, two) = (it["layers"][2].clone(), it["layers"][3].clone());
        for field in ["digest", "size"] {
            it["layers"][2][field] = two[field].clone();
            it["layers"][3][field] = one[field].clone();
        }
    });
    session.run("export k out").ends(3).says("other bytes");
    session.run("export k -").ends(3);
    forge(&session, &|it| it["annotations"]["dev.larder.disk.size"] = json!((40 * MIB + 100).to_string()));
    session.run("export k out").ends(3).says("unpack to its size");
    assert!(!session.path("out").exists());
    forge(&session, &|_| {});
    session.run("export k out").ok();
}

/// A disk of 8 EiB: its file has holes, or the file system knows none of this size. A pipe is given
/// as much as it takes.
#[test]
fn a_disk_of_an_absurd_size_fills_neither_disk_nor_memory() {
    let session = Session::new();
    raw(&session, "disk.raw");
    session.run("import sound disk.raw").ok();
    let largest = json!(i64::MAX.to_string());
    forge(&session, &|it| {
        for name in ["dev.larder.disk.size", "dev.larder.disk.virtual-size"] {
            it["annotations"][name] = largest.clone();
        }
        // The last chunk is whole only at the end of a smaller disk.
        it["layers"].as_array_mut().unwrap().pop();
    });
    assert_eq!(session.run("info k --json").ok().json()["disk"]["file_bytes"], json!(i64::MAX));
    match session.run("export k out").code() {
        0 => assert!(fs::metadata(session.path("out")).unwrap().blocks() < 100_000),
        code => assert_eq!((code, session.path("out").exists()), (2, false)),
    }
    let left = fs::read_dir(session.path("")).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!left.into_iter().any(|name| name.to_string_lossy().starts_with(".tmp-")));
    let mut child = session.command("export k -").stdout(Stdio::piped()).spawn().unwrap();
    let mut piped = vec![0; 64 << 20];
    child.stdout.take().unwrap().read_exact(&mut piped).unwrap();
    assert!(child.wait().unwrap().success());
    let disk = fs::read(session.path("disk.raw")).unwrap();
    let (data, nothing) = piped.split_at(40 << 20);
    assert!(data == &disk[..40 << 20] && nothing.iter().all(|byte| *byte == 0));
}
