//! Bakes and unbakes that end at any moment: what is there can always be put right.

use std::fs;

use camino::Utf8PathBuf;
use tempfile::TempDir;

use super::edit::Edit;
use super::pins::Pins;
use super::plan::{Places, Write, written};
use super::record::{self, WriteError};
use super::steps::{Step, carry_out};
use super::unbake::{unbake, undoing};

const COMPOSE: &str = "services:\n  web:\n    build: .\n";
const DEVCONTAINER: &str = "{\n  // ours\n  \"dockerComposeFile\": \"../docker-compose.yml\"\n}\n";

struct Project {
    _dir: TempDir,
    places: Places,
}

impl Project {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = Utf8PathBuf::from_path_buf(dir.path().canonicalize().expect("a folder")).expect("UTF-8");
        fs::create_dir(folder.join(".dev")).expect("a folder");
        let places = Places { devcontainer: Some(folder.join(".dev/devcontainer.json")), folder };
        let project = Self { _dir: dir, places };
        project.write("docker-compose.yml", COMPOSE);
        project.write(".dev/devcontainer.json", DEVCONTAINER);
        project
    }

    fn path(&self, name: &str) -> Utf8PathBuf {
        self.places.folder.join(name)
    }

    fn write(&self, name: &str, text: &str) {
        larder_tests::write(self.path(name), text);
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("a file")
    }

    /// What a bake does that pins this image.
    fn baking(&self, in_place: bool, image: &str) -> Result<Vec<Step>, WriteError> {
        let pins = Pins::from([("web".to_owned(), image.to_owned())]);
        let standing = self.places.standing()?;
        let edit = Edit { start: 17, end: 17, text: format!("    image: {image}\n    pull_policy: never\n") };
        let edits = [(self.path("docker-compose.yml"), (COMPOSE.to_owned(), vec![edit]))].into();
        let write = if in_place { Write::InPlace(edits) } else { Write::Override };
        written(&self.places, &standing, &pins, &write)
    }

    /// All files, with what they are.
    fn files(&self) -> Vec<(String, String)> {
        let mut files = Vec::new();
        let mut folders = vec![self.places.folder.clone()];
        while let Some(folder) = folders.pop() {
            for entry in folder.read_dir_utf8().expect("a folder").flatten() {
                if entry.path().is_dir() {
                    folders.push(entry.path().to_owned());
                } else {
                    let name = entry.path().strip_prefix(&self.places.folder).expect("below").to_string();
                    files.push((name.clone(), self.text(&name)));
                }
            }
        }
        files.sort();
        files
    }

    #[track_caller]
    fn is_as_before(&self, moment: &str) {
        let before = [(".dev/devcontainer.json", DEVCONTAINER), ("docker-compose.yml", COMPOSE)];
        let before = before.map(|(name, text)| (name.to_owned(), text.to_owned()));
        assert_eq!(self.files(), before, "{moment}");
    }
}

/// The bakes that come one after the other: in which way, and with which image.
const COURSES: [&[(bool, &str)]; 5] = [
    &[(false, "p-web:larder-1")],
    &[(true, "p-web:larder-1")],
    &[(true, "p-web:larder-1"), (true, "p-web:larder-2")],
    &[(true, "p-web:larder-1"), (false, "p-web:larder-1")],
    &[(false, "p-web:larder-1"), (true, "p-web:larder-2")],
];

/// Carries the bakes out, the last one up to a step; whether it had so many.
fn baked_to(project: &Project, course: &[(bool, &str)], steps: usize) -> bool {
    let (last, before) = course.split_last().expect("a bake");
    for (in_place, image) in before {
        carry_out(&project.baking(*in_place, image).expect("it can be baked")).expect("it is written");
    }
    let all = project.baking(last.0, last.1).expect("it can be baked");
    carry_out(&all[..steps.min(all.len())]).expect("it is written");
    steps <= all.len()
}

#[test]
fn whatever_step_is_the_last_all_can_be_taken_back() {
    for course in COURSES {
        let mut steps = 0;
        loop {
            let project = Project::new();
            let has_more = baked_to(&project, course, steps);
            unbake(&project.places).unwrap_or_else(|error| panic!("{course:?} to {steps}: {error}"));
            project.is_as_before(&format!("{course:?} to {steps}"));
            if !has_more {
                break;
            }
            steps += 1;
        }
        assert!(steps > 1, "{course:?}");
    }
}

#[test]
fn whatever_step_is_the_last_it_can_be_baked_on() {
    for course in COURSES {
        for steps in 0..10 {
            let project = Project::new();
            baked_to(&project, course, steps);
            let (in_place, image) = course.last().expect("a bake");
            carry_out(&project.baking(*in_place, image).expect("it can be baked")).expect("it is written");
            let whole = Project::new();
            baked_to(&whole, course, usize::MAX);
            let texts = |project: &Project| {
                let mut files = project.files();
                files.retain(|(name, _)| name != record::FILE);
                files
            };
            assert_eq!(texts(&project), texts(&whole), "{course:?} to {steps}");
            assert_eq!(
                project.baking(*in_place, image).expect("it can be baked"),
                [],
                "{course:?} to {steps}"
            );
            unbake(&project.places).expect("it can be taken back");
            project.is_as_before("then");
        }
    }
}

#[test]
fn an_unbake_that_ends_early_is_taken_up() {
    for course in COURSES {
        for steps in 0..8 {
            let project = Project::new();
            baked_to(&project, course, usize::MAX);
            let all = undoing(&project.places).expect("it can be taken back").1;
            carry_out(&all[..steps.min(all.len())]).expect("it is written");
            unbake(&project.places).expect("it can be taken back");
            project.is_as_before(&format!("{course:?}, after {steps}"));
        }
    }
}

#[test]
fn what_was_edited_since_is_kept_and_the_difference_shown() {
    let project = Project::new();
    baked_to(&project, COURSES[1], usize::MAX);
    let edited = project.text("docker-compose.yml").replace("build: .", "build: ./app");
    project.write("docker-compose.yml", &edited);
    let before = project.files();
    for result in [
        unbake(&project.places).map(drop),
        project.baking(true, "x").map(drop),
        project.baking(false, "x").map(drop),
    ] {
        let Err(WriteError::Edited { difference, .. }) = result else { panic!("{result:?}") };
        assert_eq!(difference, "line 5:\n-    build: .\n+    build: ./app");
    }
    assert_eq!(project.files(), before);
    // As its help says.
    fs::rename(project.path("docker-compose.yml.larder-backup"), project.path("docker-compose.yml"))
        .expect("a file");
    unbake(&project.places).expect("it can be taken back");
    project.is_as_before("by hand");
}

#[test]
fn a_file_above_that_was_edited_or_is_another_is_kept() {
    let project = Project::new();
    baked_to(&project, COURSES[0], usize::MAX);
    let own = project.text("docker-compose.larder.yml");
    project.write("docker-compose.larder.yml", &own.replace("never", "always"));
    let result = unbake(&project.places);
    assert!(
        matches!(&result, Err(WriteError::Edited { difference, .. }) if difference.contains("+    pull_policy: always")),
        "{result:?}"
    );
    project.write("docker-compose.larder.yml", "services: {}\n");
    assert!(matches!(unbake(&project.places), Err(WriteError::Foreign { .. })));
    project.write("docker-compose.larder.yml", &own);
    unbake(&project.places).expect("it can be taken back");
    project.is_as_before("then");
}

#[test]
fn permissions_owners_and_links_stay() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
    let project = Project::new();
    let is_root = fs::metadata(project.path("")).expect("a folder").uid() == 0;
    // A user who is not root has files of nobody else's.
    let owner = if is_root { 1234 } else { fs::metadata(project.path("")).expect("a folder").uid() };
    let looks = |name: &str| {
        let file = fs::metadata(project.path(name)).expect(name);
        (file.mode() & 0o7777, file.uid())
    };
    for (name, real, mode) in
        [("docker-compose.yml", "real.yml", 0o640), (".dev/devcontainer.json", ".dev/real.json", 0o600)]
    {
        fs::rename(project.path(name), project.path(real)).expect("a file");
        symlink(real.rsplit('/').next().expect("a name"), project.path(name)).expect("a link");
        chown(project.path(real), Some(owner), None).expect("an owner");
        fs::set_permissions(project.path(real), fs::Permissions::from_mode(mode)).expect("a mode");
    }
    let above = "docker-compose.larder.yml";
    symlink("out.yml", project.path(above)).expect("a link");
    for (course, name, backup, mode) in [
        (COURSES[1], "docker-compose.yml", "docker-compose.yml.larder-backup", 0o640),
        (COURSES[0], ".dev/devcontainer.json", ".dev/devcontainer.json.larder-backup", 0o600),
    ] {
        baked_to(&project, course, usize::MAX);
        assert!(project.path(name).is_symlink(), "{name}");
        assert_eq!((looks(name), looks(backup)), ((mode, owner), (mode, owner)), "{name}");
    }
    assert!(project.path(above).is_symlink());
    chown(project.path("out.yml"), Some(owner), None).expect("an owner");
    fs::set_permissions(project.path("out.yml"), fs::Permissions::from_mode(0o604)).expect("a mode");
    carry_out(&project.baking(false, "p-web:larder-2").expect("it can be baked")).expect("it is written");
    assert_eq!(looks("out.yml"), (0o604, owner));
    unbake(&project.places).expect("it can be taken back");
    assert_eq!(looks("docker-compose.yml"), (0o640, owner));
    assert_eq!(looks(".dev/devcontainer.json"), (0o600, owner));
    assert!(project.path(above).is_symlink() && !project.path("out.yml").exists());
    assert_eq!(project.text("real.yml"), COMPOSE);
    assert_eq!(project.text(".dev/real.json"), DEVCONTAINER);
}

#[test]
fn a_file_above_that_is_a_link_to_elsewhere_is_not_written() {
    let (project, other) = (Project::new(), Project::new());
    std::os::unix::fs::symlink(other.path("x.yml"), project.path("docker-compose.larder.yml"))
        .expect("a link");
    assert!(matches!(project.baking(false, "x"), Err(WriteError::Foreign { .. })));
    assert!(!other.path("x.yml").exists());
}

#[test]
fn a_record_of_somebody_elses_leads_nowhere() {
    let project = Project::new();
    let outside = Project::new();
    let evil = |path: &str| {
        format!(
            "{{\"version\": 1, \"files\": [{{\"path\": {path:?}, \"original\": \"x\", \"written\": [\"{}\"], \"edits\": []}}]}}",
            record::digest(COMPOSE.as_bytes())
        )
    };
    let target = outside.path("docker-compose.yml");
    for path in [target.as_str(), "../x", "a/../../x", "", "/etc/passwd"] {
        project.write(record::FILE, &evil(path));
        assert!(matches!(unbake(&project.places), Err(WriteError::Record { .. })), "{path}");
    }
    // A link that leads out, with a backup that would be put there.
    std::os::unix::fs::symlink(&target, project.path("link.yml")).expect("a link");
    project.write("link.yml.larder-backup", "evil");
    let text = evil("link.yml")
        .replace("\"original\": \"x\"", &format!("\"original\": \"{}\"", record::digest(b"evil")));
    project.write(record::FILE, &text);
    assert!(matches!(unbake(&project.places), Err(WriteError::InPlace { .. })));
    assert_eq!(outside.text("docker-compose.yml"), COMPOSE);
    for odd in
        ["", "{", "[]", "{\"version\": 2, \"files\": []}", "{\"version\": 1, \"files\": [], \"more\": 1}"]
    {
        project.write(record::FILE, odd);
        assert!(matches!(unbake(&project.places), Err(WriteError::Record { .. })), "{odd}");
    }
}

#[test]
fn a_backup_that_is_another_file_is_not_put_back() {
    let project = Project::new();
    baked_to(&project, COURSES[1], usize::MAX);
    let baked = project.text("docker-compose.yml");
    project.write("docker-compose.yml.larder-backup", "other");
    assert!(matches!(unbake(&project.places), Err(WriteError::Backup { .. })));
    assert_eq!(project.text("docker-compose.yml"), baked);
    let fresh = Project::new();
    fresh.write("docker-compose.yml.larder-backup", "somebody's");
    assert!(matches!(fresh.baking(true, "x"), Err(WriteError::Foreign { .. })));
}

#[test]
fn a_file_outside_the_project_is_not_edited() {
    let (project, other) = (Project::new(), Project::new());
    let places =
        Places { folder: project.places.folder.clone(), devcontainer: other.places.devcontainer.clone() };
    let standing = places.standing().expect("nothing stands");
    let result = written(&places, &standing, &Pins::new(), &Write::Override);
    assert!(matches!(result, Err(WriteError::Devcontainer { .. })), "{result:?}");
}

#[test]
fn several_bakes_at_once_leave_what_can_be_taken_back() {
    for round in 0..20 {
        let project = Project::new();
        std::thread::scope(|scope| {
            for (number, in_place) in [false, true, true, false].into_iter().enumerate() {
                let project = &project;
                scope.spawn(move || {
                    let _lock = project.places.lock().expect("a lock");
                    let steps = project.baking(in_place, &format!("p-web:larder-{number}"));
                    carry_out(&steps.expect("it can be baked")).expect("it is written");
                });
            }
            scope.spawn(|| unbake(&project.places).expect("it can be taken back"));
        });
        unbake(&project.places).expect("it can be taken back");
        project.is_as_before(&format!("round {round}"));
    }
}
