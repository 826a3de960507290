//! The commands of an image, as lines.

use std::collections::BTreeMap;

use storekit::Platform;

use crate::config::image::*;
use crate::process::command::Cmd;

fn image(text: &str) -> Image {
    crate::config::parse(&format!("[image.app]\n{text}")).expect("a good table").images.remove(0)
}

/// `P` in the line is this machine's platform.
#[track_caller]
fn described(text: &str, line: &str) {
    let line = line.replace("--platform P", &format!("--platform {}", Platform::host()));
    assert_eq!(plainly(&image(text)), line);
}

/// The command that hashes it where nothing is known beside larder.toml.
pub(super) fn plainly(image: &Image) -> String {
    let none = BTreeMap::new();
    image
        .describe(
            Cmd::new("hashctx"),
            &none,
            &none,
            &Named { pins: &none, uses: &none, sources: &none, checks: false, contexts: &none },
        )
        .to_string()
}

const FULL: &str = r#"
    context = "srv"
    dockerfile = "docker/App"
    target = "run"
    args = { B = "2", A = "1 2" }
    platform = "linux/aarch64"
    base = { "debian:12" = "sha256:0000000000000000000000000000000000000000000000000000000000000000" }
    tags = ["app:1", "app:dev"]
"#;

#[test]
fn a_plain_image_is_hashed_as_by_hand() {
    described("", "hashctx -f Dockerfile --platform P .");
}

#[test]
fn podman_has_ignore_rules_of_its_own() {
    described("engine = \"podman\"", "hashctx -f Dockerfile --platform P --engine podman .");
    described("engine = \"docker\"", "hashctx -f Dockerfile --platform P .");
}

#[test]
fn whatever_decides_about_a_build_is_hashed() {
    let bases = [("app:1".to_owned(), "larder:c0".to_owned())].into();
    let pins = [("alpine".to_owned(), "sha256:0a".to_owned())].into();
    let uses = [("app:1".to_owned(), "app:1-arm".to_owned())].into();
    let sources = [("https://x/y".to_owned(), "sha256:0b".to_owned())].into();
    let none = BTreeMap::new();
    let named = Named { pins: &pins, uses: &uses, sources: &sources, checks: true, contexts: &none };
    let zeros = "0".repeat(64);
    assert_eq!(
        image(FULL).describe(Cmd::new("hashctx"), &bases, &BTreeMap::new(), &named).to_string(),
        format!(
            "hashctx -f srv/docker/App --target run --platform linux/arm64 --build-arg 'A=1 2' --build-arg B=2 \
             --base debian:12=sha256:{zeros} --base app:1=larder:c0 \
             --pin alpine=sha256:0a --use app:1=app:1-arm --pin-source https://x/y=sha256:0b srv"
        )
    );
}

#[test]
fn a_platform_is_hashed_and_built_by_one_name() {
    for platform in ["linux/aarch64", "linux/arm64/v8", "Linux/ARM64"] {
        let image = image(&format!("platform = \"{platform}\""));
        described(&format!("platform = \"{platform}\""), "hashctx -f Dockerfile --platform linux/arm64 .");
        let built = image.build(Cmd::new("docker").arg("build"), Handed::Folder).to_string();
        assert!(built.contains(" --platform linux/arm64 "), "{built}");
    }
}

#[test]
fn the_images_of_a_build_are_asked_for_as_it_is_hashed() {
    assert_eq!(
        image(FULL).images(Cmd::new("hashctx")).expect("a build").to_string(),
        "hashctx -f srv/docker/App --target run --platform linux/arm64 --build-arg 'A=1 2' --build-arg B=2"
    );
    assert_eq!(image("pack = { dir = \"d\" }").images(Cmd::new("hashctx")), None);
}

#[test]
fn what_looks_like_a_variable_is_told() {
    let told = |text: &str| image(text).literals();
    assert_eq!(told("args = { B = \"a$5\", C = \"x-$Y\" }"), ["`args.C` has the text `x-$Y`"]);
    assert_eq!(
        told("pack = { dir = \"d\", env = { P = \"${P}:/x\" } }"),
        ["`pack.env.P` has the text `${P}:/x`"]
    );
    assert_eq!(told("args = { A = \"$\", B = \"1\" }"), [""; 0]);
}

#[test]
fn git_rules_are_hashed_where_asked_for() {
    described("ignore = \"all\"", "hashctx -f Dockerfile --platform P --ignore all .");
}

#[test]
fn a_build_is_as_one_would_type_it() {
    assert_eq!(
        image(FULL).build(Cmd::new("docker").arg("build"), Handed::Folder).to_string(),
        "docker build -f srv/docker/App --target run --platform linux/arm64 --build-arg 'A=1 2' \
         --build-arg B=2 srv"
    );
}

#[test]
fn a_piped_context_names_the_dockerfile_from_within() {
    let cmd = image(FULL).build(Cmd::new("docker").arg("build"), Handed::Tar).to_string();
    assert!(cmd.contains("-f docker/App "), "{cmd}");
    assert!(cmd.ends_with(" -"), "{cmd}");
    let text = format!("engine = \"podman\"\n{FULL}");
    let cmd = image(&text).build(Cmd::new("podman").arg("build"), Handed::Tar).to_string();
    assert!(cmd.contains("-f .larder-nowhere/../docker/App "), "{cmd}");
}

#[test]
fn the_settings_of_a_pack_are_hashed_and_packed() {
    let image = image(
        "platform = \"linux/amd64\"\npack = { dir = \"dist\", entrypoint = [\"/app\", \"-v\"], \
         env = { A = \"1\" }, workdir = \"/srv\", labels = { v = \"2\" } }",
    );
    assert_eq!(
        plainly(&image),
        "hashctx --ignore docker --input pack.platform=linux/amd64 --input pack.entrypoint.0=/app \
         --input pack.entrypoint.1=-v --input pack.env.A=1 --input pack.workdir=/srv --input pack.label.v=2 dist"
    );
    assert_eq!(
        image.pack(Cmd::new("imgtar").args(["pack", "K"])).to_string(),
        "imgtar pack K --platform linux/amd64 --entrypoint '[\"/app\",\"-v\"]' --env A=1 --workdir /srv \
         --label v=2"
    );
}
