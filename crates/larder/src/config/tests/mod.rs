//! What is read, and what is refused where.

mod image;
mod inherited;
mod teams;

use super::image::Ignore;
use super::*;

fn image(text: &str) -> Image {
    parse(text).expect("a good file").images.remove(0)
}

#[test]
fn a_lock_counts_until_it_is_updated_or_as_long_as_it_says() {
    let of = |line: &str| {
        let image = image(&format!("[image.app]\n{line}\n"));
        (image.lock, image.refresh.map(|age| age.0.as_secs() / 86_400))
    };
    assert_eq!(of(""), (true, None));
    assert_eq!(of("lock = false"), (false, None));
    assert_eq!([of("refresh = \"30d\""), of("refresh = \"never\"")], [(true, Some(30)), (true, None)]);
    rejected("[image.app]\nrefresh = \"soon\"\n", "or `never`", "soon");
}

#[track_caller]
fn rejected(text: &str, message: &str, marked: &str) {
    let fault = parse(text).expect_err("a bad file");
    assert!(fault.message.contains(message), "message is `{}`", fault.message);
    let at = fault.at.expect("a place");
    assert!(text[at.clone()].contains(marked), "marked is `{}`", &text[at]);
}

#[test]
fn an_empty_table_builds_the_dockerfile_beside_it() {
    let image = image("[image.app]\n");
    let build = image.as_build().expect("a build");
    assert_eq!((build.context.as_str(), build.dockerfile.as_str()), (".", "Dockerfile"));
    assert_eq!(image.tags, ["app:latest"]);
    assert!(image.use_image_cache);
    assert_eq!((image.ignore, image.engine), (Ignore::Docker, None));
}

#[test]
fn a_pack_takes_one_word_or_several() {
    for text in ["entrypoint = \"/app\"", "entrypoint = [\"/app\"]"] {
        let image = image(&format!("[image.app]\npack = {{ dir = \"dist\", {text} }}\n"));
        let Source::Pack(pack) = image.source else { panic!("builds") };
        assert_eq!(pack.entrypoint, ["/app"]);
    }
}

#[test]
fn tables_of_other_tools_are_left_alone() {
    let text = "[gcctl]\nmax-images = 3\n[pkgcache.upstream]\nx = \"y\"\n[store]\ndir = \"cache\"\n";
    assert_eq!(parse(text).expect("a good file"), Project::default());
}

#[test]
fn a_table_that_no_tool_knows_is_refused_with_the_nearest() {
    let help = |text: &str| parse(text).expect_err("a bad file").help;
    for (name, meant) in [
        ("imag", "image"),
        ("images", "image"),
        ("Image", "image"),
        ("gctl", "gcctl"),
        ("pkgcach", "pkgcache"),
    ] {
        let text = format!("[image.app]\n[{name}.app]\n");
        rejected(&text, &format!("no tool knows the table `{name}`"), name);
        assert!(help(&text).starts_with(&format!("is `[{meant}]` meant?")), "{}", help(&text));
    }
    rejected("[tiers.team]\n", "no tool knows the table `tiers`", "tiers");
    rejected("[store]\n[profle.pr]\n", "`profle`", "profle");
    rejected("engine = \"docker\"\n", "`engine`", "engine");
    parse("[x-mine]\nanything = 1\n").expect("a good file");
}

#[test]
fn a_misspelt_key_is_marked_and_the_nearest_named() {
    rejected("[image.app]\ncontxt = \"x\"\n", "unknown field `contxt`", "contxt");
    rejected("[store]\nfolder = \"x\"\n", "unknown field `folder`", "folder");
    let help = |text: &str| parse(text).expect_err("a bad file").help;
    assert_eq!(help("[image.app]\ncontxt = \"x\"\n"), "is `context` meant?");
    assert_eq!(help("[image.app]\npack = { dri = \"x\" }\n"), "is `dir` meant?");
    assert_eq!(help("[image.app]\nengine = \"dokcer\"\n"), "is `docker` meant?");
    assert!(help("[image.app]\ncolour = \"x\"\n").contains("larder reference"));
}

/// Each of these was built at every bake, past the cache.
#[test]
fn what_only_hashctx_would_refuse_is_refused_when_read() {
    let bad = |line: &str, message: &str, marked: &str| {
        rejected(&format!("[image.app]\n{line}\n[image.other]\n"), message, marked);
    };
    bad("platform = \"amd64\"", "`amd64` is not a platform", "amd64");
    bad("dockerfile = \"\"", "`dockerfile` is empty", "\"\"");
    bad("dockerfile = \"-\"", "`dockerfile` is the standard input", "-");
    bad("context = \"\"", "`context` is empty", "\"\"");
    bad("context = \"https://example/x.git\"", "`context` is an address", "https");
    bad("target = \" \"", "`target` is empty", " ");
    bad("args = { \"\" = \"1\" }", "cannot be a name in `args`", "\"\"");
    bad("args = { \"A=B\" = \"1\" }", "cannot be a name in `args`", "A=B");
    bad("pack = { dir = \"\" }", "`dir` is empty", "\"\"");
    bad("pack = { dir = \"d\", env = { \"\" = \"1\" } }", "cannot be a name in `pack.env`", "\"\"");
    for digest in ["sha256:01", "", "debian", &format!("sha256:{}", "G".repeat(64)), &"0".repeat(64)] {
        bad(&format!("base = {{ \"debian:12\" = {digest:?} }}"), "is not a digest", digest);
    }
    let zeros = "0".repeat(64);
    bad(&format!("base = {{ \"Debian\" = \"sha256:{zeros}\" }}"), "not a valid image name", "Debian");
    image(&format!("[image.app]\nbase = {{ \"debian:12\" = \"sha256:{zeros}\" }}\n"));
}

#[test]
fn a_platform_is_read_in_any_spelling() {
    assert_eq!(image("[image.app]\nplatform = \"linux/x86_64\"\n").platform().to_string(), "linux/amd64");
}

#[test]
fn two_images_never_have_one_name() {
    for tag in ["app", "app:latest", "docker.io/library/app:latest", "localhost/app"] {
        let text = format!("[image.app]\n[image.other]\ntags = [\"x\", \"{tag}\"]\n");
        rejected(&text, "images `app` and `other` have one name", tag);
    }
    parse("[image.app]\ntags = [\"app\", \"app:latest\"]\n[image.b]\ntags = [\"app:b\"]\n")
        .expect("a good file");
}

#[test]
fn a_value_of_the_wrong_kind_is_marked() {
    rejected("[image.app]\nignore = \"git\"\n", "unknown variant `git`", "git");
    rejected("[image.app]\nengine = \"rkt\"\n", "unknown variant `rkt`", "rkt");
}

#[test]
fn what_is_not_a_platform_is_refused_when_it_is_read() {
    rejected("[image.app]\nplatform = \"amd64\"\n", "write the whole of it, such as `linux/amd64`", "amd64");
    rejected("[image.app]\nplatform = \"linux/i686\"\n", "write `linux/386`", "i686");
    rejected("[image.app]\nplatform = \"\"\n", "it is empty", "\"\"");
}

#[test]
fn pack_and_dockerfile_exclude_each_other() {
    rejected("[image.app]\ntarget = \"x\"\npack = { dir = \"d\" }\n", "`pack`", "app");
}

#[test]
fn a_piped_context_holds_its_dockerfile() {
    rejected("[image.app]\nignore = \"all\"\ndockerfile = \"../D\"\n", "outside its context", "../D");
    image("[image.app]\ndockerfile = \"../D\"\n");
}

#[test]
fn a_tag_that_could_be_a_flag_is_refused() {
    for tag in ["-x", "", "a b", "App", "a:", "a/:b", "app@sha256:0", "a..b"] {
        rejected(&format!("[image.app]\ntags = [\"a\", {tag:?}]\n"), "is not a valid image name", tag);
    }
    rejected("[image.App]\n", "is not a valid image name", "App");
    rejected("[image.app]\ntags = []\n", "has no tag", "[]");
}
