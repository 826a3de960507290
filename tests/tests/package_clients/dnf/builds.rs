//! Builds of images whose steps run dnf, through `pkgcache run`, and dnf itself through it.

use larder_tests::{Part, Session, have};

use super::repository::Repository;

/// A host that nothing but the cache's parent knows.
const HOST: &str = "http://repo.example";

/// A project whose Dockerfile knows of no cache. The upstream is known to the cache's parent alone.
fn project<'a>(session: &'a Session, base: &str) -> Repository<'a> {
    let repository = Repository::new(session, true);
    for (path, bytes) in &repository.files {
        repository.site.put(&format!("{HOST}{path}"), bytes.clone());
    }
    session.write(
        "larder.toml",
        format!(
            "[pkgcache]\nallow = [\"repo.example\"]\nparent = \"{}\"\n[pkgcache.upstream]\n\
             fedora = {{ url = \"{HOST}/fedora/\", kind = \"dnf\", keyring = \"right.asc\" }}\n",
            repository.site.url()
        ),
    );
    let from = session.from(base);
    session.write("context/t.repo", format!("[t]\nname=t\ngpgcheck=0\nbaseurl={HOST}/fedora/$releasever\n"));
    let install = "RUN dnf -y -q --releasever=39 install hello && dnf -q clean all && rm -rf /var/log /var/cache/ldconfig";
    session.write(
        "context/Dockerfile",
        format!("{from}\nCOPY t.repo /etc/yum.repos.d/\n{install}\nRUN test -s /usr/share/hello/data\n"),
    );
    repository
}

/// Builds; the line that `run` ends with.
#[track_caller]
fn build(session: &Session, run: &str, build: &str) -> String {
    let ran = session.run(&format!("pkgcache run {run} -- {build} context")).ok();
    let said = ran.stderr();
    said.lines().rev().find(|line| line.starts_with("pkgcache: ")).unwrap_or_default().to_owned()
}

#[test]
fn a_build_that_runs_dnf_comes_through_the_cache_and_leaves_nothing_of_it() {
    if !have(&[Part::Dnf, Part::Docker, Part::DnfBase]) {
        return;
    }
    let mut session = Session::new().env("DOCKER_BUILDKIT", "1");
    let (base, image) = (session.dnf_base_of("docker"), session.image("dnf"));
    let repository = project(&session, &base);
    let line = build(&session, "", &format!("docker build --no-cache -t {image}"));
    assert!(!line.contains(" 0B from upstream"), "{line}");
    repository.site.forget();
    let line = build(&session, "--offline --only dnf", &format!("docker build --no-cache -t {image}"));
    assert!(line.contains(" 0 misses, 0B from upstream"), "{line}");
    assert_eq!(repository.site.requests(), 0);
    let seen = session.run(&format!(
        "docker image inspect {image}; docker history --no-trunc {image}; docker run --rm {image} \
         sh -c 'env; cat /etc/dnf/dnf.conf /etc/yum.repos.d/*; head -n 1 /usr/share/hello/data; ls -a /run /etc/apt/apt.conf.d'"
    ));
    let text = seen.ok().stdout();
    assert!(text.contains("hello 1.0+b1"), "{text}");
    for word in ["127.0.0.1", "http_proxy", "larder-"] {
        assert!(!text.to_ascii_lowercase().replace("larder-test", "").contains(word), "{word}: {text}");
    }
}

#[test]
fn podman_builds_that_run_dnf_come_through_it_too() {
    if !have(&[Part::Dnf, Part::Podman, Part::DnfBase]) {
        return;
    }
    let mut session = Session::new().with_podman();
    let base = session.dnf_base_of("../bin/podman");
    let repository = project(&session, &base);
    // Without layers between: its storage here copies each one whole.
    let podman = "../bin/podman build --layers=false --runtime runc --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 --no-cache";
    build(&session, "", &format!("{podman} -t here"));
    repository.site.forget();
    let line = build(&session, "--offline", &format!("{podman} -t again"));
    assert!(line.contains(" 0 misses, 0B from upstream"), "{line}");
    assert_eq!(repository.site.requests(), 0);
    let seen = session.run("../bin/podman image inspect again; ../bin/podman history --no-trunc again");
    let text = seen.ok().stdout();
    assert!(!text.contains("127.0.0.1") && !text.contains("http_proxy"), "{text}");
}

/// The machine's own files name the repository; they stay as they are.
#[test]
fn a_command_s_dnf_is_led_to_the_cache() {
    if !have(&[Part::Dnf, Part::Mount]) {
        return;
    }
    let session = Session::new();
    let repository = project(&session, "scratch");
    let client = repository.client_of("a", "");
    let dnf = client.line("install --downloadonly hello").replace("dnf.conf", "main.conf");
    session.run("grep -v '^reposdir' clients/a/dnf.conf | sed '/^\\[t\\]/,$d' >clients/a/main.conf").ok();
    session.write("run.sh", dnf);
    let line = |more: &str| {
        format!(
            "mkdir -p up/yum.repos.d && cp context/t.repo up/yum.repos.d/ && unshare -m sh -c '\
             mount -t overlay -o lowerdir=$PWD/up:/etc overlay /etc && pkgcache run {more} -- sh run.sh'"
        )
    };
    session.run(&line("")).ok();
    assert!(repository.site.requests() > 0);
    repository.site.forget();
    session.run("rm -rf clients/a/root").ok();
    session.run(&line("--offline")).ok();
    assert_eq!(repository.site.requests(), 0);
}
