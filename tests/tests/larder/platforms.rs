//! One table for several platforms, with real engines.

use larder_tests::{Part, Ran, Session, have};
use serde_json::Value;

const ENGINES: [(&str, Part); 2] = [("docker", Part::Docker), ("podman", Part::Podman)];

/// What is in one file of an image.
fn cat(session: &Session, engine: &str, image: &str, file: &str) -> String {
    let line = format!(
        "c=$({engine} create {image} none) && {engine} cp $c:{file} - | tar -xO; {engine} rm $c >/dev/null"
    );
    session.run(&line).ok().stdout()
}

fn column(ran: &Ran, name: &str) -> Vec<Value> {
    ran.rows().iter().map(|row| row[name].clone()).collect()
}

#[test]
fn each_platform_has_its_image_its_key_and_its_base() {
    for (engine, part) in ENGINES {
        if !have(&[part]) {
            continue;
        }
        let mut session = Session::new();
        let [below, app] = ["base", "app"].map(|name| session.image_in(engine, name));
        let (own, other) =
            if cfg!(target_arch = "aarch64") { ("arm64", "amd64") } else { ("amd64", "arm64") };
        for arch in [own, other] {
            session.write(arch, format!("{arch}\n"));
        }
        session
            .write("Dockerfile.base", session.from("scratch") + "ARG TARGETARCH\nCOPY $TARGETARCH /arch\n");
        session.write("Dockerfile.app", format!("ARG BASE={below}:1\nFROM $BASE\nCOPY app /app\n"));
        session.write("app", "1\n");
        session.write(
            "larder.toml",
            format!(
                "[defaults]\nplatforms = [\"linux/{own}\", \"linux/{other}\"]\n\
                 [image.app]\ndockerfile = \"Dockerfile.app\"\ntags = [\"{app}:1\"]\noutputs = {{ \"out/{{platform}}\" = \"/arch\" }}\n\
                 [image.base]\ndockerfile = \"Dockerfile.base\"\ntags = [\"{below}:1\"]\n"
            ),
        );
        let bake = format!("larder bake --engine {engine} --json");
        let first = session.run(&bake).ok();
        assert_eq!(column(&first, "state"), ["built"; 4], "{first}");
        assert_eq!(column(&first, "saved"), [true; 4], "{first}");
        let names = ["app", "base"].map(|name| [own, other].map(|arch| format!("{name}@linux/{arch}")));
        assert_eq!(column(&first, "image"), names.concat());
        assert_eq!(first.rows()[1]["platform"], format!("linux/{other}"));
        let keys = column(&first, "key");
        assert!(keys[0] != keys[1] && keys[2] != keys[3], "{first}");
        assert_eq!(cat(&session, engine, &format!("{app}:1"), "/arch"), format!("{own}\n"));
        assert_eq!(cat(&session, engine, &format!("{app}:1-linux-{other}"), "/arch"), format!("{other}\n"));
        let architecture =
            format!("{engine} image inspect -f '{{{{.Architecture}}}}' {below}:1-linux-{other}");
        assert_eq!(session.run(&architecture).ok().stdout().trim(), other);
        assert_eq!(
            session.run(&format!("cat out/linux-{own} out/linux-{other}")).ok().stdout(),
            format!("{own}\n{other}\n")
        );

        assert_eq!(column(&session.run(&bake).ok(), "state"), ["hit"; 4]);
        // What one platform's image reads is a change of it and of what stands on it.
        session.write(other, "changed\n");
        let changed = session.run(&bake).ok();
        assert_eq!(column(&changed, "state"), ["hit", "built", "hit", "built"], "{changed}");
        assert_eq!(cat(&session, engine, &format!("{app}:1-linux-{other}"), "/arch"), "changed\n");
        let one = session.run(&format!("{bake} app@linux/{other}")).ok();
        assert_eq!(column(&one, "image"), [names[0][1].clone(), names[1][1].clone()]);
        assert_eq!(
            session.run(&format!("larder bake --engine {engine} base")).ok().stdout().lines().count(),
            3
        );

        // A build for another machine that fails says what it may lack.
        session.write("Dockerfile.app", format!("FROM {below}:1\nRUN [\"/none\"]\n"));
        let failed = session.run(&format!("{bake} app@linux/{other}")).ends(2);
        let failed = failed.says(&format!("for linux/{other} on a machine of linux/{own}"));
        failed.says("install qemu-user-static");
    }
}
