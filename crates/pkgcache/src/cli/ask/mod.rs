//! Asks other programs, with a limit to the patience, and servers (`http`).

pub(crate) mod http;

use std::ffi::OsStr;
use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use camino::Utf8PathBuf;

/// A client says what it knows at once; a daemon that hangs is not waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the program prints on stdout and stderr together; `None` where it is not there or says
/// nothing in time.
pub(crate) fn ask(command: &mut Command) -> Option<String> {
    let mut child = command
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    let pipes: [Option<Box<dyn Read + Send>>; 2] = [
        child.stdout.take().map(|pipe| Box::new(pipe) as _),
        child.stderr.take().map(|pipe| Box::new(pipe) as _),
    ];
    let (tell, told) = mpsc::channel();
    for (place, pipe) in pipes.into_iter().flatten().enumerate() {
        let tell = tell.clone();
        thread::spawn(move || {
            let mut bytes = Vec::new();
            // What came before a fault counts.
            let _ = pipe.take(4 << 20).read_to_end(&mut bytes);
            let _ = tell.send((place, bytes));
        });
    }
    drop(tell);
    let mut said = [Vec::new(), Vec::new()];
    for _ in 0..2 {
        let Ok((place, bytes)) = told.recv_timeout(PATIENCE) else {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        };
        if let Some(said) = said.get_mut(place) {
            *said = bytes;
        }
    }
    let _ = child.wait();
    Some(String::from_utf8_lossy(&said.concat()).into_owned())
}

/// Where the program lies, by this PATH.
pub(crate) fn find(program: &str, path: Option<&str>) -> Option<Utf8PathBuf> {
    let folders = path.unwrap_or_default().split(':').filter(|folder| folder.starts_with('/'));
    folders.map(|folder| Utf8PathBuf::from(folder).join(program)).find(|path| is_program(path.as_ref()))
}

fn is_program(path: &OsStr) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_says_is_heard_on_both_streams() {
        let said = ask(Command::new("sh").args(["-c", "echo a >&2; echo b"])).unwrap();
        assert_eq!(said, "b\na\n");
        assert_eq!(ask(&mut Command::new("/no/such/program")), None);
    }

    #[test]
    fn a_program_is_found_by_its_path() {
        assert!(find("sh", Some("/nonexistent:/bin")).is_some());
        assert!(find("sh", Some("bin")).is_none() && find("sh", None).is_none());
    }
}
