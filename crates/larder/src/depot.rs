//! `larder tier`: what a tier has, and filling it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write;

use camino::Utf8Path;
use miette::{Diagnostic, IntoDiagnostic, WrapErr};
use serde::Deserialize;
use storekit::size::ByteSize;
use thiserror::Error;
use toolkit::Outcome;

use crate::bake::{self, BakeError, Options};
use crate::config::Project;
use crate::config::tiers::tier::{MACHINE, Tier};
use crate::process::command::Cmd;
use crate::process::runner::{RunError, Runner, code, how, succeeded};
use crate::process::temp::Temp;
use crate::process::tools::Tools;
use crate::tier::{Pulled, Route, Tiers, forget, on};
use toolkit::nearest::question;

/// Why a tier cannot be asked or filled.
#[derive(Debug, Error, Diagnostic)]
pub(crate) enum TierError {
    #[error("larder.toml has no tier `{name}`")]
    #[diagnostic(code(larder::no_tier))]
    Unknown {
        name: String,
        #[help]
        help: String,
    },

    #[error("the tier `{name}` is not to be written: {why}")]
    #[diagnostic(
        code(larder::tier_closed),
        help(
            "`--profile NAME` names another profile; LARDER_READ_ONLY and the user's own settings go before all of them"
        )
    )]
    Closed { name: String, why: String },

    #[error("the tier `{MACHINE}` is this machine's store")]
    #[diagnostic(code(larder::tier_machine), help("`gcctl run` keeps it within the limits of [gcctl]"))]
    Machine,

    #[error("the tier `{name}` cannot be used: `{command}` {how}")]
    #[diagnostic(code(larder::tier), help("the message above says why"))]
    Failed { name: String, command: String, how: String },
}

/// What stands in a tier under a key, as `imgtar ls --tier --json` says.
#[derive(Deserialize)]
struct Kept {
    #[serde(default)]
    image: Option<String>,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    blobs: Vec<Blob>,
}

#[derive(Deserialize)]
struct Blob {
    digest: String,
    size: u64,
}

/// A project, and what asks its tiers.
pub(crate) struct Desk<'a> {
    pub(crate) project: &'a Project,
    pub(crate) options: &'a Options,
    pub(crate) tools: &'a Tools,
    pub(crate) runner: &'a Runner,
    /// Whether the user has forbidden to write to tiers.
    pub(crate) is_read_only: bool,
}

impl Desk<'_> {
    /// Lists the tiers, and which of them this kind of build reads and writes.
    ///
    /// # Errors
    /// A list that cannot be written.
    pub(crate) fn list(&self, out: &mut (impl Write + ?Sized)) -> miette::Result<Outcome> {
        let route = &self.options.route;
        let mut rows = vec![(MACHINE.to_owned(), "read, written", "this machine's store".to_owned())];
        for tier in &self.project.tiers {
            let is_in = |tiers: &[Tier]| tiers.iter().any(|other| other.name == tier.name);
            let use_of = match (is_in(&route.read), is_in(&route.write)) {
                (true, true) => "read, written",
                (true, false) => "read",
                (false, true) => "written",
                (false, false) => "not used",
            };
            rows.push((tier.name.clone(), use_of, tier.place.flag()));
        }
        let width = rows.iter().map(|(name, ..)| name.chars().count()).max().unwrap_or_default();
        let lines = rows.iter().map(|(name, used, place)| format!("{name:width$}  {used:13}  {place}\n"));
        let profile = match &route.profile {
            Some(profile) => format!("profile: {profile}\n"),
            None if self.project.profiles.is_empty() => {
                "no profile: tiers are read, and not written\n".to_owned()
            }
            None => format!("no profile is for this build{}\n", self.options.occasion.because()),
        };
        let text: String = lines.chain([profile]).collect();
        out.write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .into_diagnostic()
            .wrap_err("cannot write the list")?;
        Ok(Outcome::Yes)
    }

    /// Lists what stands in the tier.
    ///
    /// # Errors
    /// An unknown tier; one that does not answer.
    pub(crate) fn entries(
        &self,
        name: &str,
        as_json: bool,
        out: &mut (impl Write + ?Sized),
    ) -> miette::Result<Outcome> {
        let cmd = self.listing(name, as_json)?;
        let listed = self.output(name, &cmd)?;
        out.write_all(&listed)
            .and_then(|()| out.flush())
            .into_diagnostic()
            .wrap_err("cannot write the list")?;
        Ok(Outcome::Yes)
    }

    /// Says how much stands in the tier, for each image; what several share counts once in the sum.
    ///
    /// # Errors
    /// As [`Desk::entries`].
    pub(crate) fn size(&self, name: &str, out: &mut (impl Write + ?Sized)) -> miette::Result<Outcome> {
        let cmd = match &self.options.store {
            // As of any other place: with the blobs, which several images may share.
            Some(store) if name == MACHINE => {
                let cmd = self.tools.imgtar("ls").args(["--json", "--tier", &format!("store:{store}")]);
                cmd.env("LARDER_READ_ONLY", "1")
            }
            _ => self.listing(name, true)?,
        };
        let listed = self.output(name, &cmd)?;
        let lines = listed.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let mut blobs = BTreeMap::new();
        let mut by_image: BTreeMap<String, (usize, u64)> = BTreeMap::new();
        let mut alone = 0_u64;
        for line in lines {
            let kept: Kept =
                serde_json::from_slice(line).into_diagnostic().wrap_err("cannot read the list")?;
            let of = by_image.entry(kept.image.unwrap_or_else(|| "-".to_owned())).or_default();
            of.0 += 1;
            of.1 = of.1.saturating_add(kept.size);
            if kept.blobs.is_empty() {
                alone = alone.saturating_add(kept.size);
            }
            blobs.extend(kept.blobs.into_iter().map(|blob| (blob.digest, blob.size)));
        }
        let sum = blobs.values().copied().fold(alone, u64::saturating_add);
        let width =
            by_image.keys().map(|image| image.chars().count()).max().unwrap_or(0).max("together".len());
        // A string is never too long to be written.
        let mut text = String::new();
        for (image, (count, size)) in &by_image {
            let size = ByteSize(*size).to_string();
            let _ =
                writeln!(text, "{image:width$}  {:>10}  {size:>8}", toolkit::words::count(*count, "image"));
        }
        let count = by_image.values().map(|(count, _)| *count).sum::<usize>();
        let size = ByteSize(sum).to_string();
        let _ =
            writeln!(text, "{:width$}  {:>10}  {size:>8}", "together", toolkit::words::count(count, "image"));
        out.write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .into_diagnostic()
            .wrap_err("cannot write the list")?;
        Ok(Outcome::Yes)
    }

    /// Says of each image of the project whether the tier has it as it is now: `No` where one is
    /// missing.
    ///
    /// # Errors
    /// An unknown tier; one that does not answer; images that cannot be hashed.
    pub(crate) fn check(&self, name: &str, out: &mut (impl Write + ?Sized)) -> miette::Result<Outcome> {
        let mut all = true;
        for (image, key) in self.keys()? {
            let cmd = self.at(name, self.tools.imgtar("has").args([key.as_str(), "-q"]))?;
            let (status, _) = self.runner.capture(&cmd)?;
            let is_there = match code(status) {
                Some(0) => true,
                Some(1) => false,
                _ => return Err(Self::failed(name, &cmd, how(status)).into()),
            };
            all &= is_there;
            let word = if is_there { "there" } else { "missing" };
            writeln!(out, "{image}  {}  {word}", key.get(..12).unwrap_or(&key))
                .into_diagnostic()
                .wrap_err("cannot write the list")?;
        }
        Ok(Outcome::from_bool(all))
    }

    /// Brings the images of the project into the tier, as far as any tier that is read or this
    /// machine's store has them. Builds nothing: `No` where one is nowhere.
    ///
    /// # Errors
    /// An unknown tier, one that this build does not write, one that does not take an image.
    pub(crate) fn warm(&self, name: &str, out: &mut (impl Write + ?Sized)) -> miette::Result<Outcome> {
        self.may_write(name)?;
        let tiers =
            Tiers::new(&self.options.route, self.tools, self.runner, self.options.store_flag.as_deref());
        let mut all = true;
        for (image, key) in self.keys()? {
            let short = key.get(..12).unwrap_or(&key);
            let word = if self.is_here(&key)? || self.pulled(&tiers, &key)? {
                if name != MACHINE {
                    let cmd = self.own(self.tools.imgtar("push").args([key.as_str(), "-q"]));
                    // What was found to be damaged there is sent anew.
                    let cmd = if tiers.is_damaged_in(name, &key) { cmd.arg("--force") } else { cmd };
                    let cmd = self.at(name, cmd)?;
                    self.output(name, &cmd)?;
                }
                "there"
            } else {
                all = false;
                "missing"
            };
            writeln!(out, "{image}  {short}  {word}").into_diagnostic().wrap_err("cannot write the list")?;
        }
        tiers.tell_damage();
        Ok(Outcome::from_bool(all))
    }

    /// Removes from the tier what is over the limits of `[gcctl.NAME]`; with `dry_run` it only says
    /// what that is. `force`: also where a limit of bytes takes more than half.
    ///
    /// # Errors
    /// As [`Desk::warm`]; this machine's own store, which has commands of its own; branches that
    /// count and cannot be read.
    pub(crate) fn collect(
        &self,
        name: &str,
        dry_run: bool,
        force: bool,
        out: &mut (impl Write + ?Sized),
    ) -> miette::Result<Outcome> {
        if name == MACHINE {
            return Err(TierError::Machine.into());
        }
        self.tier(name)?;
        if !dry_run {
            self.may_write(name)?;
        }
        let temp = Temp::new(self.tools).into_diagnostic().wrap_err("cannot make a folder for the list")?;
        let (listing, plan) = (temp.path().join("listing"), temp.path().join("plan"));
        let listed = self.output(name, &self.listing(name, true)?)?;
        put(&listing, &listed)?;
        let planning = |forced: bool| {
            let cmd = self.tools.gcctl("plan").arg("--listing").path(&listing).args(["--tier", name]);
            if forced { cmd.arg("--force") } else { cmd }
        };
        let table = self.output(name, &planning(force || dry_run))?;
        out.write_all(&table)
            .and_then(|()| out.flush())
            .into_diagnostic()
            .wrap_err("cannot write the list")?;
        if dry_run || table.is_empty() {
            return Ok(Outcome::Yes);
        }
        put(&plan, &self.output(name, &planning(force).args(["--json", "-q"]))?)?;
        let cmd = self.at(name, self.tools.imgtar("rm").arg("--plan").path(&plan))?;
        self.options.store.iter().try_for_each(|store| self.tier(name).map(|tier| forget(store, tier)))?;
        self.output(name, &cmd)?;
        Ok(Outcome::Yes)
    }

    fn may_write(&self, name: &str) -> Result<(), TierError> {
        if name == MACHINE {
            return Ok(());
        }
        let tier = self.tier(name)?;
        let closed = |why: &str| Err(TierError::Closed { name: name.to_owned(), why: why.to_owned() });
        if self.is_read_only {
            return closed("LARDER_READ_ONLY or the user's own settings forbid it");
        }
        let is_written = self.options.route.write.iter().any(|other| other.name == tier.name);
        match &self.options.route.profile {
            _ if is_written || self.project.profiles.is_empty() => Ok(()),
            Some(profile) => closed(&format!("the profile `{profile}` does not write it")),
            None => closed(&format!("no profile is for this build{}", self.options.occasion.because())),
        }
    }

    fn is_here(&self, key: &str) -> Result<bool, RunError> {
        let cmd = self.own(self.tools.imgtar("has").args([key, "-q"]));
        self.runner.ask(&cmd).map(|(status, _)| status.success())
    }

    fn pulled(&self, tiers: &Tiers<'_>, key: &str) -> Result<bool, RunError> {
        let places = tiers.places(key)?;
        places.troubles.iter().for_each(|trouble| trouble.tell(self.runner));
        for at in places.holders {
            match tiers.pull(at, key, false)? {
                Pulled::Here => return Ok(true),
                Pulled::Failed(Some(trouble)) => trouble.tell(self.runner),
                Pulled::Gone | Pulled::Failed(None) => {}
            }
        }
        Ok(false)
    }

    /// The images and disks that were asked for, with the keys that they have now.
    fn keys(&self) -> Result<Vec<(String, String)>, BakeError> {
        let mut keys = Vec::new();
        let check = Options { check: true, route: Route::default(), ..self.options.clone() };
        bake::each(self.project, &check, self.tools, self.runner, |baked| {
            keys.extend(baked.key.clone().map(|key| (baked.image.clone(), key)));
        })?;
        Ok(keys)
    }

    fn listing(&self, name: &str, as_json: bool) -> Result<Cmd, TierError> {
        let cmd = self.tools.imgtar("ls");
        self.at(name, if as_json { cmd.arg("--json") } else { cmd })
    }

    /// The command, about the tier.
    fn at(&self, name: &str, cmd: Cmd) -> Result<Cmd, TierError> {
        if name == MACHINE { Ok(self.own(cmd)) } else { Ok(on(self.tier(name)?, cmd)) }
    }

    fn own(&self, cmd: Cmd) -> Cmd {
        match &self.options.store_flag {
            Some(store) => cmd.arg("--store").path(store),
            None => cmd,
        }
    }

    fn tier(&self, name: &str) -> Result<&Tier, TierError> {
        self.project.tiers.iter().find(|tier| tier.name == name).ok_or_else(|| {
            let names = self.project.tiers.iter().map(|tier| tier.name.as_str()).chain([MACHINE]);
            let list: Vec<_> = names.clone().map(|name| format!("`{name}`")).collect();
            let help = format!("{}there are {}", question(name, names), list.join(", "));
            TierError::Unknown { name: name.to_owned(), help }
        })
    }

    fn output(&self, name: &str, cmd: &Cmd) -> miette::Result<Vec<u8>> {
        let (status, said) = self.runner.capture(cmd)?;
        succeeded(cmd, status).map_err(|_| Self::failed(name, cmd, how(status)))?;
        Ok(said)
    }

    fn failed(name: &str, cmd: &Cmd, how: String) -> TierError {
        TierError::Failed { name: name.to_owned(), command: cmd.short(), how }
    }
}

/// Writes a file of a run's own.
fn put(path: &Utf8Path, bytes: &[u8]) -> miette::Result<()> {
    File::create_new(path)
        .and_then(|mut file| file.write_all(bytes))
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot write `{path}`"))
}
