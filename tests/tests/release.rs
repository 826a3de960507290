//! What `cargo xtask dist` makes, installed where its users install it: programs that start on an
//! older system, packages that install, examples that run with nothing but the installed tools.

use std::fs;

use camino::Utf8PathBuf;
use larder_tests::{Part, Session, have, parts};

/// The folder with the packages.
fn release() -> Utf8PathBuf {
    parts::release().expect("a release")
}

const TOOLS: [&str; 5] = ["gcctl", "hashctx", "imgtar", "larder", "pkgcache"];

#[test]
fn the_programs_start_on_an_older_system() {
    if !have(&[Part::Release, Part::OldBase]) {
        return;
    }
    let session = Session::new();
    let dir = release();
    session.run(&format!("cd {dir} && sha256sum -c SHA256SUMS")).ok();
    session.run(&format!("mkdir root && tar -C root -xf {}", parts::old_base().expect("a root"))).ok();
    session
        .run(&format!(
            "tar -C root/opt --zstd -xf {dir}/larder-*-linux.tar.zst && mv root/opt/larder-* root/opt/larder"
        ))
        .ok();
    for tool in TOOLS {
        let said = session.run(&format!("chroot root /opt/larder/bin/{tool} --version")).ok().stdout();
        assert!(said.starts_with(&format!("{tool} ")), "{said}");
        let needs = session.run(&format!("readelf -V root/opt/larder/bin/{tool}")).ok().stdout();
        let newest = needs.split("GLIBC_2.").skip(1).filter_map(minor).max().expect("a version of glibc");
        assert!(newest <= 17, "{tool} needs glibc 2.{newest}");
        assert!(session.path(&format!("root/opt/larder/share/man/man1/{tool}.1")).is_file());
    }
    // They work there, too: a key, and an image without an engine.
    session.run("mkdir -p root/p/site && echo hi >root/p/site/x").ok();
    session.write("root/p/larder.toml", "[image.site]\npack = { dir = \"site\" }\n");
    let inside = "unshare --fork --pid --mount --mount-proc --root root";
    let bake =
        format!("{inside} sh -c 'cd /p && PATH=/opt/larder/bin:$PATH TMPDIR=/tmp LARDER_DIR=/s larder bake'");
    session.run(&bake).ok();
    assert!(session.run(&bake).ok().stdout().contains("hit"));
}

/// The digits at the start: of `17) …`, 17.
fn minor(text: &str) -> Option<u32> {
    text.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
}

#[test]
fn debians_package_installs_and_goes() {
    if !have(&[Part::Release, Part::Base]) {
        return;
    }
    let session = Session::new();
    session.run(&format!("mkdir root && tar -C root -xf {}", parts::base().expect("a root"))).ok();
    session.run(&format!("cp {}/larder_*.deb root/larder.deb", release())).ok();
    session.run("chroot root dpkg -i /larder.deb").ok();
    for tool in TOOLS {
        session.run(&format!("chroot root {tool} --version")).ok();
        session.run(&format!("gzip -t root/usr/share/man/man1/{tool}.1.gz")).ok();
        session.run(&format!("chroot root bash -nc '. /usr/share/bash-completion/completions/{tool}'")).ok();
    }
    session.run("chroot root dpkg -V larder").ok();
    session.run("chroot root dpkg -r larder").ok();
    assert!(!session.path("root/usr/bin/larder").exists());
}

#[test]
fn the_wheel_installs() {
    if !have(&[Part::Release, Part::Python]) {
        return;
    }
    let session = Session::new();
    session.run(&format!("python3 -m venv env && env/bin/pip install --no-index {}/*.whl", release())).ok();
    for tool in TOOLS {
        session.run(&format!("env/bin/{tool} --version")).ok();
    }
    session.run("env/bin/pip uninstall -y larder-tools && test ! -e env/bin/larder").ok();
}

/// A folder with the example project and the examples beside it, and a PATH with the installed
/// tools, the system's own programs and no cargo.
fn examples() -> Session {
    let session = Session::new();
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");
    session
        .run(&format!(
            "cp -r {examples}/project/. . && cp {examples}/*.yml {examples}/*file {examples}/build.sh ."
        ))
        .ok();
    session
        .run(&format!(
            "mkdir ../opt && tar -C ../opt --zstd --strip-components 1 -xf {}/*.tar.zst",
            release()
        ))
        .ok();
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", session.aside("opt/bin"));
    session.env("PATH", &path)
}

/// The command lines of an example for a CI service: `run:` of each step, or those of `script:`.
fn lines(session: &Session, file: &str, program: &str) -> Vec<String> {
    let file = session.path(file);
    let script = format!(
        "python3 -c 'import json, yaml; d = yaml.safe_load(open(\"{file}\")); print(json.dumps({program}))'"
    );
    let lines = Session::new().run(&script).ok().json();
    lines.as_array().expect("a list").iter().filter_map(|line| line.as_str().map(str::to_owned)).collect()
}

#[test]
fn the_examples_run_with_the_installed_tools_alone() {
    if !have(&[Part::Release, Part::Docker]) {
        return;
    }
    let session = examples();
    session.run("! command -v cargo").ok();
    session.run("make images").ok().says("building");
    assert!(session.run("make why").ok().stdout().contains("hit"));
    session.run("make clean").ok();
    session.write("site/index.html", "<h1>Another</h1>\n");
    session.run("make why").fails();
    session.run("make images").ok();
    let session = examples();
    session.run("./build.sh").ok();
    session.run("docker image rm example-site:latest && ./build.sh").ok();
    assert!(session.image_id("example-site:latest").is_some(), "loaded, and not built");
    assert!(fs::exists(session.path("inputs.larder")).is_ok_and(|is_there| !is_there));
    session.run("docker image rm example-site:latest").ok();
}

#[test]
fn the_example_for_just_runs_too() {
    if !have(&[Part::Release, Part::Docker, Part::Just]) {
        return;
    }
    let session = examples();
    let just = parts::on_path("just").expect("just");
    session.run(&format!("{just} images && {just} why && {just} clean")).ok();
    session.run("docker image rm example-site:latest").ok();
}

/// The example project on a machine of a CI service: the system's own programs, pip with our wheel
/// and no other, and an apt-get that notes in `../apt` what it is to install.
fn runner() -> Session {
    let session = examples();
    session.run("python3 -m venv ../env").ok();
    session.script("../env/bin/apt-get", "echo \"$@\" >>../apt");
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", session.aside("env/bin"));
    session.env("PATH", &path).env("PIP_NO_INDEX", "1").env("PIP_FIND_LINKS", release().as_str())
}

#[test]
fn the_examples_for_ci_services_install_and_run() {
    if !have(&[Part::Release, Part::Docker, Part::Python, Part::Yaml]) {
        return;
    }
    let github = runner();
    let steps = lines(&github, "github.yml", "[s.get(\"run\") for s in d[\"jobs\"][\"bake\"][\"steps\"]]");
    let gitlab = runner().env("LARDER_DIR", ".larder");
    let jobs = lines(&gitlab, "gitlab.yml", "d[\"images\"][\"before_script\"] + d[\"images\"][\"script\"]");
    for (session, steps, count) in [(&github, steps, 3), (&gitlab, jobs, 4)] {
        assert_eq!(steps.len(), count, "{steps:?}");
        session.run("! command -v larder").ok();
        for step in &steps {
            session.run(step).ok();
        }
        assert!(session.run("larder bake --check").ok().stdout().contains("hit"));
    }
    let said = gitlab.run("larder bake --check --strict").ok().stderr();
    assert_eq!(said, "", "the store is hidden from the engine");
    gitlab.run("grep 'install .* docker-cli git' ../apt").ok();
    gitlab.run("docker image rm example-site:latest").ok();
}

#[test]
fn what_is_written_for_ci_services_installs_and_runs() {
    if !have(&[Part::Release, Part::Docker, Part::Python, Part::Yaml]) {
        return;
    }
    let steps = "[s[\"run\"] for j in d[\"jobs\"].values() for s in j[\"steps\"] if \"run\" in s]";
    for (forge, steps, count) in
        [("github", steps, 2), ("gitlab", "d[\"default\"][\"before_script\"] + d[\"ci\"][\"script\"]", 3)]
    {
        let session = runner();
        session.run(&format!("../opt/bin/larder ci --emit {forge} >ci.yml")).ok();
        let steps = lines(&session, "ci.yml", steps);
        assert_eq!(steps.len(), count, "{steps:?}");
        for step in &steps {
            session.run(step).ok();
        }
        session.run("docker image rm example-site:latest").ok();
    }
}
