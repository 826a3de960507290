//! What is said of a bake, and of one that cannot begin.

use std::io::Write;

use toolkit::{Outcome, Output};

use crate::project::{DOCKER, Project, refused};

#[test]
fn what_looks_like_a_variable_is_warned_of() {
    let result = Project::new("[image.app]\nargs = { SHA = \"$GIT_SHA\" }\n").bake();
    result
        .ended(Outcome::Yes, "built")
        .saved(true)
        .warned("`args.SHA` has the text `$GIT_SHA`, which is not replaced");
}

/// Takes one line, and then nobody reads any more; or takes none, for another reason.
struct Ends(usize, std::io::ErrorKind);

impl Write for Ends {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0 == 0 {
            return Err(self.1.into());
        }
        self.0 -= usize::from(bytes.contains(&b'\n'));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_report_that_cannot_be_written_ends_no_bake() {
    use std::io::ErrorKind::{BrokenPipe, StorageFull};
    let bakes = |lines, kind| {
        let docker = format!("case \"$*\" in *Bad*) exit 1;; version*) exit 0;; esac\n{DOCKER}");
        let project =
            Project::new("[image.app]\n[image.bad]\ndockerfile = \"Bad\"\n[image.last]\n").docker(&docker);
        let outcome = project.bake_to(&mut Output::report_to(Ends(lines, kind)));
        let saves = project.calls().iter().filter(|call| call.starts_with("imgtar save")).count();
        (outcome.map_err(|error| error.to_string()), saves)
    };
    for lines in [0, 1, 2] {
        assert_eq!(bakes(lines, BrokenPipe), (Ok(Outcome::Code(2)), 2));
    }
    assert_eq!(bakes(1, StorageFull), (Err("cannot write the report".to_owned()), 2));
}

#[test]
fn an_unknown_name_names_the_known_ones() {
    let project = Project::app().with(|options| options.names = vec!["ap".into()]);
    refused(&project, "larder.toml has no image or disk `ap`", "it has `app`");
}

#[test]
fn a_project_without_an_image_is_refused() {
    for text in ["", "[gcctl]\n[image]\n"] {
        for check in [false, true] {
            let project = Project::new(text).with(|options| options.check = check);
            refused(&project, "`larder.toml` names no image", "write `[image.NAME]`");
        }
    }
}
