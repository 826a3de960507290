//! Tests: lock files of all forms, as their clients write them, and damaged.

use super::*;
use crate::damaged;

const HEX: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
/// The SHA-512 of `abc`.
const INTEGRITY: &str =
    "sha512-3a81oZNherrMQXNJriBBMRLm+k6JqX6iCp7u5ktV05ohkpkqJ0/BqDa6PCOj/uu9RU1EI2Q86A4qmslPpUyknw==";

/// What is read, as `ECOSYSTEM NAME VERSION FILES`, with a `#` for each known checksum.
#[track_caller]
fn read(form: Form, text: &str) -> Vec<String> {
    let listed = Listed::read(form, text).unwrap_or_else(|error| panic!("{error}"));
    let line = |it: &Locked| {
        let files: Vec<_> = it
            .files
            .iter()
            .map(|file| {
                let name = file.name.as_deref().or(file.url.as_deref()).unwrap_or("-");
                format!("{name}{}", if file.checksum.is_some() { "#" } else { "" })
            })
            .collect();
        format!("{} {} {}", it.ecosystem.name(), it.label(), files.join(" ")).trim_end().to_owned()
    };
    let left_out = listed.left_out.iter().map(|it| format!("left out: {} {}", it.what, it.why));
    let includes = listed.includes.iter().map(|it| format!("includes: {it}"));
    listed.packages.iter().map(line).chain(left_out).chain(includes).collect()
}

/// No damage to the text makes a reader panic, or repeat it many times over.
#[track_caller]
fn damaged(form: Form, text: &str) {
    read(form, text);
    damaged::each(text.as_bytes(), |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        match Listed::read(form, text) {
            Ok(listed) => assert!(listed.packages.len() <= text.len(), "{text}"),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    });
}

fn cargo() -> String {
    format!(
        "version = 4\n[[package]]\nname = \"app\"\nversion = \"0.1.0\"\n\
         [[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"registry+https://index.example/\"\nchecksum = \"{HEX}\"\n\
         [[package]]\nname = \"b\"\nversion = \"2.0.0\"\nsource = \"sparse+https://other.example/index/\"\nchecksum = \"{HEX}\"\n\
         [[package]]\nname = \"c\"\nversion = \"3.0.0\"\nsource = \"git+https://git.example/c#0123\"\n"
    )
}

#[test]
fn cargo_locks() {
    assert_eq!(
        read(Form::Cargo, &cargo()),
        [
            "cargo a 1.0.0 -#",
            "cargo b 2.0.0 -#",
            "left out: app 0.1.0 is a folder of the project's",
            "left out: c 3.0.0 comes from a git repository",
        ]
    );
    let listed = Listed::read(Form::Cargo, &cargo()).unwrap();
    let indexes: Vec<_> = listed.packages.iter().filter_map(|it| it.index.as_deref()).collect();
    assert_eq!(indexes, ["https://index.example/", "https://other.example/index/"]);
    let source = "registry+https://index.example/";
    let first = format!(
        "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"{source}\"\n[metadata]\n\"checksum a 1.0.0 ({source})\" = \"{HEX}\"\n"
    );
    assert_eq!(read(Form::Cargo, &first), ["cargo a 1.0.0 -#"]);
}

fn npm() -> String {
    format!(
        r#"{{"name":"project","lockfileVersion":3,"packages":{{
        "":{{"name":"project","dependencies":{{"a":"^1"}}}},
        "node_modules/a":{{"version":"1.0.0","resolved":"https://r.example/a/-/a-1.0.0.tgz","integrity":"{INTEGRITY}"}},
        "node_modules/a/node_modules/@s/b":{{"version":"2.0.0","resolved":"https://r.example/@s/b/-/b-2.0.0.tgz"}},
        "node_modules/alias":{{"name":"real","version":"3.0.0","integrity":"{INTEGRITY}"}},
        "node_modules/bundled":{{"version":"1.0.0","inBundle":true}},
        "node_modules/linked":{{"resolved":"packages/linked","link":true}},
        "packages/linked":{{"version":"1.0.0"}},
        "node_modules/git":{{"version":"1.0.0","resolved":"git+ssh://git@git.example/x.git#0123"}},
        "node_modules/for-mac":{{"version":"1.0.0","resolved":"https://r.example/m.tgz","os":["darwin"],"cpu":["arm64"],"optional":true}}
        }}}}"#
    )
}

#[test]
fn npm_locks() {
    assert_eq!(
        read(Form::Npm, &npm()),
        [
            "npm a 1.0.0 https://r.example/a/-/a-1.0.0.tgz#",
            "npm @s/b 2.0.0 https://r.example/@s/b/-/b-2.0.0.tgz",
            "npm real 3.0.0 -#",
            "npm for-mac 1.0.0 https://r.example/m.tgz",
            "left out: git comes from a git repository",
            "left out: linked is a folder of the project's",
        ]
    );
    let listed = Listed::read(Form::Npm, &npm()).unwrap();
    let mac = listed.packages.iter().find(|it| it.name == "for-mac").unwrap();
    assert_eq!(
        (mac.machines.os.as_slice(), mac.machines.cpu.as_slice()),
        (&["darwin".to_owned()][..], &["arm64".to_owned()][..])
    );
    let first = format!(
        r#"{{"lockfileVersion":1,"dependencies":{{"a":{{"version":"1.0.0","integrity":"{INTEGRITY}",
        "dependencies":{{"b":{{"version":"npm:c@2.0.0"}},"d":{{"version":"file:../d"}}}}}}}}}}"#
    );
    assert_eq!(
        read(Form::Npm, &first),
        ["npm a 1.0.0 -#", "npm c 2.0.0 -", "left out: d is a folder of the project's"]
    );
}

fn pnpm() -> String {
    format!(
        "lockfileVersion: '9.0'\nimporters:\n  .: {{}}\npackages:\n  '@s/a@1.0.0':\n    resolution: {{integrity: {INTEGRITY}}}\n    engines: {{node: '>=10'}}\n\
         \n  b@2.0.0:\n    resolution: {{integrity: {INTEGRITY}, tarball: https://r.example/odd/b.tgz}}\n    os: [linux]\n\
         \n  c@https://codeload.example/x/tar.gz/0123:\n    resolution: {{tarball: https://codeload.example/x/tar.gz/0123}}\n    version: 1.0.0\n\
         \n  d@file:../d:\n    resolution: {{directory: ../d, type: directory}}\n\
         \nsnapshots:\n  '@s/a@1.0.0': {{}}\n"
    )
}

#[test]
fn pnpm_locks() {
    assert_eq!(
        read(Form::Pnpm, &pnpm()),
        [
            "npm @s/a 1.0.0 -#",
            "npm b 2.0.0 https://r.example/odd/b.tgz#",
            "left out: c@https://codeload.example/x/tar.gz/0123 comes from an address of its own, and not from an index",
            "left out: d@file:../d is a folder of the project's",
        ]
    );
    for (version, keys) in [
        ("5.4", ["/@s/a/1.0.0", "/b/2.0.0_peer@1.0.0", "/c/3.0.0-rc.1"]),
        ("'6.0'", ["/@s/a@1.0.0", "/b@2.0.0(peer@1.0.0)(@x/y@2.0.0)", "/c@3.0.0-rc.1"]),
    ] {
        let entry = |key: &str| format!("  '{key}':\n    resolution: {{integrity: {INTEGRITY}}}\n");
        let text = format!("lockfileVersion: {version}\npackages:\n{}", keys.map(entry).concat());
        assert_eq!(
            read(Form::Pnpm, &text),
            ["npm @s/a 1.0.0 -#", "npm b 2.0.0 -#", "npm c 3.0.0-rc.1 -#"],
            "{version}"
        );
    }
}

fn yarn_1() -> String {
    format!(
        "# THIS IS AN AUTOGENERATED FILE.\n# yarn lockfile v1\n\n\n\"@s/a@^1.0.0\", \"@s/a@^1.1.0\":\n  version \"1.1.0\"\n  \
         resolved \"https://r.example/@s/a/-/a-1.1.0.tgz#a9993e364706816aba3e25717850c26c9cd0d89d\"\n  integrity {INTEGRITY}\n  dependencies:\n    b \"^2\"\n    version \"9\"\n\n\
         alias@npm:b@^2, b@^2:\n  version \"2.0.0\"\n  resolved \"https://r.example/b/-/b-2.0.0.tgz#a9993e364706816aba3e25717850c26c9cd0d89d\"\n\n\
         \"g@git+https://git.example/g.git\":\n  version \"1.0.0\"\n  resolved \"git+https://git.example/g.git#0123\"\n"
    )
}

fn yarn_4() -> String {
    "# This file is generated by running \"yarn install\" inside your project.\n\n__metadata:\n  version: 8\n  cacheKey: 10c0\n\n\
     \"@s/a@npm:^1.0.0\":\n  version: 1.1.0\n  resolution: \"@s/a@npm:1.1.0\"\n  checksum: 10c0/0123\n  languageName: node\n  linkType: hard\n\n\
     \"b@npm:^2\":\n  version: 2.0.0\n  resolution: \"b@npm:2.0.0::__archiveUrl=https%3A%2F%2Fr.example%2Fb.tgz\"\n  conditions: os=darwin & cpu=arm64\n  linkType: hard\n\n\
     \"b@patch:b@npm%3A2.0.0#~/x.patch\":\n  version: 2.0.0\n  resolution: \"b@patch:b@npm%3A2.0.0#~/x.patch::version=2.0.0&hash=1\"\n  linkType: hard\n\n\
     \"project@workspace:.\":\n  version: 0.0.0-use.local\n  resolution: \"project@workspace:.\"\n  linkType: soft\n"
        .to_owned()
}

#[test]
fn yarn_locks() {
    assert_eq!(
        read(Form::Yarn, &yarn_1()),
        [
            "npm @s/a 1.1.0 https://r.example/@s/a/-/a-1.1.0.tgz#",
            "npm b 2.0.0 https://r.example/b/-/b-2.0.0.tgz#",
            "left out: g comes from a git repository",
        ]
    );
    assert_eq!(
        read(Form::Yarn, &yarn_4()),
        [
            "npm @s/a 1.1.0 -",
            "npm b 2.0.0 https://r.example/b.tgz",
            "left out: project@workspace:. is a folder of the project's",
        ]
    );
    let listed = Listed::read(Form::Yarn, &yarn_4()).unwrap();
    assert_eq!(listed.packages[1].machines.os, ["darwin"]);
}

fn requirements() -> String {
    format!(
        "# by hand\n--index-url https://index.example/simple\n-r more.txt\n-c=limits.txt\n\
         a[extra]==1.0.0 ; python_version >= \"3.8\" \\\n    --hash=sha256:{HEX} \\\n    --hash=sha256:{HEX}  # why\n\
         b==2.0+cpu\nc>=1\nd==1.*\n./here\n-e ./there\ngit+https://git.example/e.git\nf @ https://x.example/f.whl\n"
    )
}

#[test]
fn requirements_are_read_as_far_as_they_are_pinned() {
    let open = "is not pinned to a version: write `==`";
    assert_eq!(
        read(Form::Requirements, &requirements()),
        [
            "python a 1.0.0 -# -#",
            "python b 2.0+cpu",
            &format!("left out: c {open}"),
            &format!("left out: d {open}"),
            "left out: ./here is a folder of the project's",
            "left out: ./there is a folder of the project's",
            "left out: git+https://git.example/e.git comes from a git repository",
            "left out: f comes from an address of its own, and not from an index",
            "includes: more.txt",
            "includes: limits.txt",
        ]
    );
}

fn uv() -> String {
    format!(
        "version = 1\nrevision = 3\n[[package]]\nname = \"project\"\nversion = \"0.1.0\"\nsource = {{ virtual = \".\" }}\n\
         [[package]]\nname = \"a\"\nversion = \"1.0\"\nsource = {{ registry = \"https://index.example/simple\" }}\n\
         sdist = {{ url = \"https://f.example/a-1.0.tar.gz\", hash = \"sha256:{HEX}\", size = 3 }}\n\
         wheels = [{{ url = \"https://f.example/x/a-1.0%2Bcpu-py3-none-any.whl\", hash = \"sha256:{HEX}\", size = 3 }}]\n\
         [[package]]\nname = \"g\"\nversion = \"1\"\nsource = {{ git = \"https://git.example/g?rev=1#0123\" }}\n"
    )
}

fn pylock() -> String {
    format!(
        "lock-version = \"1.0\"\ncreated-by = \"pip\"\n[[packages]]\nname = \"a\"\nversion = \"1.0\"\nindex = \"https://index.example/simple\"\n\
         [[packages.wheels]]\nname = \"a-1.0-py3-none-any.whl\"\nurl = \"https://f.example/a.whl\"\n[packages.wheels.hashes]\nsha256 = \"{HEX}\"\n\
         [packages.sdist]\nurl = \"https://f.example/a-1.0.tar.gz\"\n[packages.sdist.hashes]\nsha256 = \"{HEX}\"\n\
         [[packages]]\nname = \"g\"\n[packages.vcs]\ntype = \"git\"\nurl = \"https://git.example\"\ncommit-id = \"0123\"\n"
    )
}

fn poetry() -> String {
    format!(
        "[[package]]\nname = \"a\"\nversion = \"1.0\"\nfiles = [{{file = \"a-1.0-py3-none-any.whl\", hash = \"sha256:{HEX}\"}}]\n\
         [[package]]\nname = \"b\"\nversion = \"2.0\"\nfiles = [{{file = \"b-2.0.tar.gz\", hash = \"sha256:{HEX}\"}}]\n\
         [package.source]\ntype = \"legacy\"\nurl = \"https://index.example/simple\"\nreference = \"own\"\n\
         [[package]]\nname = \"g\"\nversion = \"1\"\nfiles = []\n[package.source]\ntype = \"git\"\nurl = \"https://git.example\"\n\
         [metadata]\nlock-version = \"2.0\"\n"
    )
}

#[test]
fn pythons_locks() {
    assert_eq!(
        read(Form::Uv, &uv()),
        [
            "python a 1.0 a-1.0+cpu-py3-none-any.whl# a-1.0.tar.gz#",
            "left out: project is a folder of the project's",
            "left out: g comes from a git repository",
        ]
    );
    assert_eq!(
        read(Form::Pylock, &pylock()),
        ["python a 1.0 a-1.0-py3-none-any.whl# a-1.0.tar.gz#", "left out: g comes from a git repository"]
    );
    assert_eq!(
        read(Form::Poetry, &poetry()),
        [
            "python a 1.0 a-1.0-py3-none-any.whl#",
            "python b 2.0 b-2.0.tar.gz#",
            "left out: g comes from a git repository",
        ]
    );
    let older = format!(
        "[[package]]\nname = \"a\"\nversion = \"1.0\"\n[metadata.files]\na = [{{file = \"a-1.0.tar.gz\", hash = \"sha256:{HEX}\"}}]\n"
    );
    assert_eq!(read(Form::Poetry, &older), ["python a 1.0 a-1.0.tar.gz#"]);
    let later = Listed::read(Form::Pylock, "lock-version = \"2.0\"\n").unwrap_err();
    assert!(later.to_string().contains("only 1 is known"), "{later}");
}

const CYCLONEDX: &str = r#"{"bomFormat":"CycloneDX","specVersion":"1.6","components":[
    {"type":"library","name":"a","purl":"pkg:npm/%40s/a@1.0.0","components":[{"name":"b","purl":"pkg:pypi/b@2.0"}]},
    {"name":"c","purl":"pkg:cargo/c@3.0.0?x=y#z"},{"name":"d","purl":"pkg:deb/debian/d@1%3A4-1?arch=amd64"},
    {"name":"e","purl":"pkg:oci/e@sha256%3Aba78?repository_url=quay.io/team/e"},
    {"name":"f","purl":"pkg:docker/team/f@1.0"},{"name":"g","purl":"pkg:maven/g/g@1"},{"name":"h"}]}"#;
const SPDX: &str = r#"{"spdxVersion":"SPDX-2.3","packages":[{"name":"a","externalRefs":[
    {"referenceCategory":"SECURITY","referenceType":"cpe23Type","referenceLocator":"cpe:x"},
    {"referenceCategory":"PACKAGE-MANAGER","referenceType":"purl","referenceLocator":"pkg:npm/a@1.0.0"}]},{"name":"b"}]}"#;

const GO: &str = "\
    example.test/a v1.0.0 h1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n\
    example.test/a v1.0.0/go.mod h1:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=\n\n\
    example.test/B v0.1.0/go.mod h1:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=\n\
    example.test/c v0.1.0 h9:AgICAgI=\n";

#[test]
fn gos_sums() {
    assert_eq!(
        read(Form::Go, GO),
        [
            "go example.test/B v0.1.0 go.mod",
            "go example.test/a v1.0.0 zip go.mod",
            "left out: example.test/c v0.1.0 has no sum that begins with `h1:`",
        ]
    );
    let listed = Listed::read(Form::Go, GO).unwrap();
    assert_eq!(listed.packages[1].files[0].sum, Some([1; 32]));
    assert_eq!(Listed::read(Form::Go, "a v1 h1:x\na\n").unwrap_err().line, Some(2));
}

#[test]
fn bills_of_materials_and_lists() {
    assert_eq!(
        read(Form::Sbom, CYCLONEDX),
        [
            "npm @s/a 1.0.0",
            "python b 2.0",
            "cargo c 3.0.0",
            "apt d 1:4-1",
            "oci quay.io/team/e@sha256:ba78",
            "oci team/f:1.0",
            "left out: pkg:maven/g/g@1 is of a kind that no list here is read for",
            "left out: h has no package URL",
        ]
    );
    assert_eq!(read(Form::Sbom, SPDX), ["npm a 1.0.0", "left out: b has no package URL"]);
    assert_eq!(
        read(Form::Images, "# ours\ndebian:12 # base\n\nquay.io/a/b\n"),
        ["oci debian:12", "oci quay.io/a/b"]
    );
    assert_eq!(
        read(Form::Debs, "curl=7.88 gcc-12 # x\nlibc6:amd64\n"),
        ["apt curl 7.88", "apt gcc-12", "apt libc6:amd64"]
    );
    assert_eq!(Listed::read(Form::Debs, "a\n../b\n").unwrap_err().line, Some(2));
}

#[test]
fn a_file_is_known_by_its_name() {
    for (name, text, form) in [
        ("Cargo.lock", "", Some(Form::Cargo)),
        ("requirements-dev.txt", "", Some(Form::Requirements)),
        ("pylock.gpu.toml", "", Some(Form::Pylock)),
        ("pdm.lock", "", Some(Form::Poetry)),
        ("go.sum", "", Some(Form::Go)),
        ("bom.json", CYCLONEDX, Some(Form::Sbom)),
        ("x.spdx.json", "", Some(Form::Sbom)),
        ("package.json", "{\"name\":\"é\"}", None),
        ("notes.txt", "", None),
    ] {
        assert_eq!(Form::of(name, text), form, "{name}");
    }
}

#[test]
fn no_reader_panics_whatever_it_is_given() {
    for (form, text) in [
        (Form::Cargo, cargo()),
        (Form::Npm, npm()),
        (Form::Pnpm, pnpm()),
        (Form::Yarn, yarn_1()),
        (Form::Yarn, yarn_4()),
        (Form::Requirements, requirements()),
        (Form::Uv, uv()),
        (Form::Pylock, pylock()),
        (Form::Poetry, poetry()),
        (Form::Sbom, CYCLONEDX.to_owned()),
        (Form::Sbom, SPDX.to_owned()),
        (Form::Go, GO.to_owned()),
    ] {
        damaged(form, &text);
    }
    let deep = "[".repeat(100_000);
    for form in Form::all() {
        let _ = Listed::read(form, &deep);
    }
    let aliases = "lockfileVersion: 9\npackages: &a\n  x: *a\n";
    assert_eq!(Listed::read(Form::Pnpm, aliases).unwrap_err().line, Some(3));
}
