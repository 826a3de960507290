//! What Go asks for of a version: when it was made, its go.mod and its zip.

use std::fs::File;
use std::io::Seek as _;

use tokio::task::spawn_blocking;

use super::{Bringer, Failure, Load, below};
use crate::ecosystem::Ecosystem;
use crate::ecosystem::contents::{Contents, Unlike};
use crate::ecosystem::go::{escaped, is_canonical, unescaped};
use crate::locked::go::{MOD, ZIP};

impl Bringer {
    pub(super) async fn module(&self, load: &mut Load) -> Result<(), Failure> {
        let (module, version) = (load.locked.name.clone(), load.locked.version.clone());
        let (name, at) = (escaped(&module), escaped(&version));
        if unescaped(&name).is_none() || !is_canonical(&version) {
            return Err("its name, or its version, is not a module's".to_owned());
        }
        let mount = self.mount(Ecosystem::Go, None)?;
        let target = |ending: &str| below(mount, &format!("/{name}/@v/{at}.{ending}"));
        // go.sum says nothing of it, and not every command asks for it.
        let _ = self.client.document(&target("info"), "*/*").await;
        let sum = |name: &str| {
            let mut files = load.locked.files.iter().filter(|it| it.name.as_deref() == Some(name));
            files.find_map(|it| it.sum)
        };
        let (go_mod, zip) = (sum(MOD), sum(ZIP));
        // A list without sums means all of it.
        let is_open = load.locked.files.is_empty();
        if is_open || go_mod.is_some() || zip.is_some() {
            self.compared(load, &target("mod"), go_mod.map(Contents::GoMod)).await?;
        }
        if is_open || zip.is_some() {
            self.compared(load, &target("zip"), zip.map(Contents::GoZip)).await?;
        }
        Ok(())
    }

    /// A file, which has to have this in it.
    async fn compared(
        &self,
        load: &mut Load,
        target: &str,
        contents: Option<Contents>,
    ) -> Result<(), Failure> {
        let mut file = tempfile::tempfile().map_err(|error| error.to_string())?;
        let got = self.client.copy(target, "*/*", &mut file).await?;
        if let Some(contents) = contents {
            let looking = spawn_blocking(move || look(file, contents)).await;
            let looked = looking.map_err(|error| error.to_string())?;
            looked.map_err(|it| {
                let target = storekit::printable(target);
                format!("`{target}` is `{}`, and the lock file says `{}`", it.found, it.announced)
            })?;
        }
        load.outcome.add(&got);
        Ok(())
    }
}

fn look(mut file: File, contents: Contents) -> Result<(), Unlike> {
    // A file that cannot be read shows as another one.
    let _ = file.rewind();
    contents.check(&mut std::io::BufReader::new(file))
}
