//! The line that a bake ends with.

use larder_tests::{Part, Session, have};

#[test]
fn the_closing_line_says_how_much_of_all_was_moved() {
    for (engine, part) in [("docker", Part::Docker), ("podman", Part::Podman)] {
        if !have(&[part]) {
            continue;
        }
        let mut session = Session::new();
        let names = ["large", "small"].map(|name| session.image_in(engine, name));
        session.write("large/file", vec![b'x'; 3_000_000]);
        session.write("small/file", vec![b'y'; 40_000]);
        // Packed: of what was built, the builder keeps the layers.
        let table = |(name, tag): (&str, &String)| {
            let pack = format!("pack = {{ dir = \"{name}\", {} }}", session.labels());
            format!("[image.{name}]\n{pack}\ntags = [\"{tag}:1\"]\n")
        };
        let toml: String = ["large", "small"].into_iter().zip(&names).map(table).collect();
        session.write("larder.toml", toml);
        let closes = |line: &str| {
            let ran = session.run(&format!("{line}larder bake --engine {engine}")).ok();
            ran.stdout().lines().last().unwrap_or_default().to_owned()
        };
        assert!(closes("").starts_with("2 images: 2 built"));
        // The small one is sent, and the large one is there.
        let line = closes(&format!("{engine} rmi -f {}:1 >&2; ", names[1]));
        let (_, moved) = line.split_once("2 images: 1 hit, 1 loaded; ").unwrap_or_else(|| panic!("{line}"));
        let (sent, all) = moved.split_once(" moved of ").unwrap_or_else(|| panic!("{line}"));
        assert!(sent.ends_with("kB") && all.starts_with("3.") && all.contains("MB"), "{line}");
        assert_eq!(closes("").split(';').next(), Some("2 images: 2 hits"));
    }
}
