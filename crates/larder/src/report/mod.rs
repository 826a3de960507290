//! What a bake says about each image, a line for people or one JSON object; and of all together.

use std::fmt;
use std::io::{self, Write};

use serde::Serialize;
use storekit::Kind;
use storekit::size::ByteSize;
use toolkit::words::{count, took};

pub mod changes;
pub(crate) mod summary;

use self::changes::Changes;
use crate::config::tiers::tier::MACHINE;
use crate::process::packages::Packages;
use crate::tier::Tally;

/// How many changed inputs the text names; the rest is counted.
const SHOWN: usize = 5;

/// How many digits of a key the text has; JSON has them all.
const SHORT: usize = 12;

/// How long a line of the text may get before what there is to remark gets one of its own.
const COLUMNS: usize = 80;

/// How wide the column of names may be for that: the other columns have the rest.
const NAMES: usize = 39;

/// How an image was found, or what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Nothing was built: the store had it.
    Hit,
    /// It was built now.
    Built,
    /// It would be built, but this was a check.
    Stale,
    /// It could not be built.
    Failed,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Built => "built",
            Self::Stale => "stale",
            Self::Failed => "failed",
        }
    }
}

/// One line of the report. With `--json` these are the object's fields.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own about the image")]
pub struct Baked {
    /// The name in larder.toml.
    pub image: String,
    /// In which round it can be baked, from 1 on: all of one round at once, when those before it
    /// are done.
    pub wave: usize,
    /// The images and disks of larder.toml that it is baked after.
    pub needs: Vec<String>,
    /// What became of it.
    pub state: State,
    /// Absent where the inputs could not be hashed.
    pub key: Option<String>,
    /// `engine` or `store` where it was found, `docker`, `podman`, `pack` or `index` where it was
    /// made; absent where there is no image.
    pub from: Option<&'static str>,
    /// The tier that it came from, or by a check the one that has it; absent where this machine's
    /// store had it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// The engine that it is for, also where it was found; absent where a packed image is in the
    /// store alone.
    pub engine: Option<&'static str>,
    /// Whether the store has this image under this key now.
    pub saved: bool,
    /// Whether what is built from it may know it by its key: what was built and not saved may be
    /// something else.
    #[serde(skip)]
    pub by_key: bool,
    /// The engine's ID of it, where others are built from it and this was not a check.
    #[serde(skip)]
    pub id: Option<String>,
    /// The platform that it is for; absent for a disk and for an index.
    pub platform: Option<String>,
    /// Of an index, the platforms that it has images for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub platforms: Vec<String>,
    /// The image's names.
    pub tags: Vec<String>,
    /// How many of its files were written into the project; absent where it has none, or was not
    /// asked for them.
    pub outputs: Option<usize>,
    /// Why it was built, or would be.
    pub reason: Option<String>,
    /// The images and disks of larder.toml whose rebuild is the reason, from the one that it is
    /// made from down to the one whose own inputs changed.
    pub chain: Vec<String>,
    /// What changed since the image was last saved, where that is known and it was not a hit.
    pub changes: Option<Changes>,
    /// What went wrong without being fatal.
    pub warnings: Vec<String>,
    /// What could make the key lie; found out for `--json` and `--doubts` alone.
    pub key_warnings: Vec<String>,
    /// Whether the engine did not have it, and has it now out of the store.
    #[serde(skip)]
    pub loaded: bool,
    /// How many bytes of layers the engine was sent, plain.
    pub moved: u64,
    /// What its package clients took from the package cache; absent where they were not led there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packages: Option<Packages>,
    /// How long the build took that a hit makes needless, in seconds; absent where that is not on
    /// record.
    pub saved_seconds: Option<f64>,
    /// The name that stands for its key, of a compose file's service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pinned: Option<String>,
    /// Whether it is a disk.
    #[serde(skip)]
    pub is_disk: bool,
    /// Why it could not be built.
    pub error: Option<String>,
    /// Wall-clock time.
    pub seconds: f64,
}

impl Baked {
    /// What is told of an image or disk of which nothing else is known.
    pub(crate) fn new(name: &str, state: State, key: Option<String>) -> Self {
        Self {
            image: name.to_owned(),
            wave: 1,
            needs: Vec::new(),
            state,
            key,
            from: None,
            engine: None,
            saved: false,
            by_key: false,
            id: None,
            platform: None,
            platforms: Vec::new(),
            tags: Vec::new(),
            outputs: None,
            reason: None,
            chain: Vec::new(),
            changes: None,
            warnings: Vec::new(),
            key_warnings: Vec::new(),
            loaded: false,
            moved: 0,
            packages: None,
            saved_seconds: None,
            tier: None,
            pinned: None,
            is_disk: false,
            error: None,
            seconds: 0.0,
        }
    }
}

/// Writes the report, as JSON or as a line for people with the names `width` characters wide.
pub(crate) fn write(
    baked: &Baked,
    as_json: bool,
    width: usize,
    out: &mut (impl Write + ?Sized),
) -> io::Result<()> {
    if as_json { json(baked, out) } else { text(baked, width, out) }
}

/// Writes the report as one JSON object on one line.
fn json(baked: &Baked, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
    serde_json::to_writer(&mut *out, baked)?;
    writeln!(out)?;
    out.flush()
}

/// Writes the report as a line of a table, with the names `width` characters wide, and what changed
/// below it.
fn text(baked: &Baked, width: usize, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
    let key = baked.key.as_deref().map_or("-", |key| key.get(..SHORT).unwrap_or(key));
    let from = baked.tier.as_deref().or(baked.from).unwrap_or("-");
    let (mut image, width, state) = (baked.image.as_str(), width.min(NAMES), baked.state.name());
    if image.chars().count() > NAMES {
        writeln!(out, "{image}")?;
        image = "";
    }
    let line = format!("{image:width$}  {state:6}  {key:SHORT$}  {from:6}  {:>7.2} s", baked.seconds);
    let remark = remark(baked);
    if line.chars().count() + remark.chars().count() <= COLUMNS {
        writeln!(out, "{line}{remark}")?;
    } else {
        writeln!(out, "{line}")?;
        wrapped(&remark, COLUMNS - 4).iter().try_for_each(|line| writeln!(out, "    {line}"))?;
    }
    baked.key_warnings.iter().try_for_each(|doubt| writeln!(out, "    doubt: {doubt}"))?;
    if let Some(changes) = &baked.changes {
        changes.lines.iter().take(SHOWN).try_for_each(|line| writeln!(out, "    {line}"))?;
        match changes.lines.len().saturating_sub(SHOWN) {
            0 => {}
            more => writeln!(out, "    and {more} more")?,
        }
    }
    out.flush()
}

/// All images and disks of a bake together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sum {
    /// How many there are.
    pub images: usize,
    /// How many of them are disks.
    disks: usize,
    hits: usize,
    loaded: usize,
    built: usize,
    stale: usize,
    failed: usize,
    /// In bytes.
    pub moved: u64,
    /// How many bytes all images have that are in an engine now; 0 where that was not asked.
    pub of: u64,
    /// In seconds.
    pub saved: f64,
    /// What tiers gave and took, by name.
    pub(crate) tiers: Vec<(String, Tally)>,
}

impl Sum {
    /// With one more. An index is not counted: its images are.
    pub fn add(&mut self, baked: &Baked) {
        if !baked.platforms.is_empty() {
            return;
        }
        let of_kind = match baked.state {
            State::Hit if baked.loaded => &mut self.loaded,
            State::Hit => &mut self.hits,
            State::Built => &mut self.built,
            State::Stale => &mut self.stale,
            State::Failed => &mut self.failed,
        };
        *of_kind += 1;
        self.images += 1;
        self.disks += usize::from(baked.is_disk);
        self.moved += baked.moved;
        // What a hit took itself is not saved.
        self.saved += baked.saved_seconds.map_or(0.0, |saved| (saved - baked.seconds).max(0.0));
    }
}

impl Sum {
    /// What it adds up from: how many images came from this machine's store and from each tier, how
    /// many had to be built, and how many went to each tier, with their bytes.
    pub(crate) fn parts(&self) -> Vec<(Kind, usize, u64, Option<&str>)> {
        let given: usize = self.tiers.iter().map(|(_, tally)| tally.given).sum();
        let own = (self.hits + self.loaded).saturating_sub(given);
        let mut parts = vec![
            (Kind::Hit, own, 0, Some(MACHINE)),
            (Kind::Miss, self.built + self.stale + self.failed, 0, None),
        ];
        for (tier, tally) in &self.tiers {
            parts.push((Kind::Hit, tally.given, tally.given_bytes, Some(tier)));
            parts.push((Kind::Save, tally.taken, tally.taken_bytes, Some(tier)));
        }
        parts.retain(|(_, count, ..)| *count > 0);
        parts
    }
}

/// `5 images: 3 hits, 1 loaded, 1 built; 12.3MB moved of 1.50GB; 9 min 40 s saved`
impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hits = if self.hits == 1 { "hit" } else { "hits" };
        let kinds = [
            (self.hits, hits),
            (self.loaded, "loaded"),
            (self.built, "built"),
            (self.stale, "stale"),
            (self.failed, "failed"),
        ];
        let kinds: Vec<_> = kinds
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, kind)| format!("{count} {kind}"))
            .collect();
        let images = self.images.saturating_sub(self.disks);
        let both = [(images, "image"), (self.disks, "disk")];
        // Of nothing at all there are no images.
        let there =
            both.iter().filter(|(number, what)| *number > 0 || (self.images == 0 && *what == "image"));
        let there: Vec<_> = there.map(|(number, what)| count(*number, what)).collect();
        write!(f, "{}: {}", there.join(", "), kinds.join(", "))?;
        if self.moved > 0 {
            write!(f, "; {} moved", ByteSize(self.moved))?;
            if self.of > self.moved {
                write!(f, " of {}", ByteSize(self.of))?;
            }
        }
        for (tier, tally) in &self.tiers {
            if tally.given > 0 {
                write!(f, "; {} from {tier} ({})", tally.given, ByteSize(tally.given_bytes))?;
            }
            if tally.taken > 0 {
                write!(f, "; {} to {tier} ({})", tally.taken, ByteSize(tally.taken_bytes))?;
            }
        }
        if self.saved >= 1.0 {
            write!(f, "; {} saved", took(self.saved))?;
        }
        Ok(())
    }
}

/// The text in lines of so many columns at most; a longer word has a line of its own.
fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    // Of two blanks the second one stays with the word behind it.
    for word in text.trim_start().split_inclusive(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.trim_end().chars().count() <= columns => {
                line.push_str(word);
            }
            _ => lines.push(word.trim_start().to_owned()),
        }
    }
    for line in &mut lines {
        line.truncate(line.trim_end().len());
    }
    lines.retain(|line| !line.is_empty());
    lines
}

fn remark(baked: &Baked) -> String {
    // Of a build, `from` says it.
    let engine = baked.engine.filter(|_| baked.state == State::Hit).map(|engine| format!("  for {engine}"));
    let platforms = (!baked.platforms.is_empty()).then(|| format!("  for {}", baked.platforms.join(", ")));
    let reason = baked.reason.as_ref().map(|reason| format!("  {reason}"));
    let unsaved = (baked.state == State::Built && !baked.saved).then(|| "  not saved".to_owned());
    let outputs = baked
        .outputs
        .filter(|count| *count > 0)
        .map(|count| format!("  outputs: {}", toolkit::words::count(count, "file")));
    [engine, platforms, reason, unsaved, outputs].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_to_say_fits_the_columns() {
        let text = "  its base `b` would be rebuilt, and its base `c` would be rebuilt  not saved";
        assert_eq!(
            wrapped(text, 34),
            ["its base `b` would be rebuilt, and", "its base `c` would be rebuilt  not", "saved"]
        );
        assert_eq!(wrapped("  a/very/long/path is", 6), ["a/very/long/path", "is"]);
        assert_eq!(wrapped("  short  not saved", 76), ["short  not saved"]);
        assert!(wrapped("  ", 76).is_empty());
    }

    fn baked(state: State) -> Baked {
        Baked {
            from: Some("store"),
            tier: None,
            engine: Some("podman"),
            saved: true,
            by_key: true,
            platform: Some("linux/amd64".into()),
            tags: vec!["app:latest".into()],
            seconds: 1.234,
            ..Baked::new("app", state, Some("c0ffee".into()))
        }
    }

    #[test]
    fn the_sum_tells_how_much_of_all_was_moved() {
        let mut sum = Sum::default();
        sum.add(&Baked { loaded: true, moved: 12_300_000, saved_seconds: Some(61.3), ..baked(State::Hit) });
        sum.add(&baked(State::Built));
        assert_eq!(sum.to_string(), "2 images: 1 loaded, 1 built; 12.3MB moved; 1 min saved");
        let disk = Baked { is_disk: true, ..baked(State::Hit) };
        let mut disks = Sum::default();
        disks.add(&disk);
        assert_eq!(disks.to_string(), "1 disk: 1 hit");
        disks.add(&disk);
        disks.add(&baked(State::Built));
        assert!(disks.to_string().starts_with("1 image, 2 disks: 2 hits, 1 built"), "{disks}");
        sum.of = 1_500_000_000;
        assert!(sum.to_string().contains("; 12.3MB moved of 1.50GB; "), "{sum}");
        sum.moved = 0;
        assert!(!sum.to_string().contains("moved"), "{sum}");
    }

    #[track_caller]
    fn reads(baked: &Baked, expected: &str) {
        let mut out = Vec::new();
        text(baked, 5, &mut out).expect("a buffer");
        assert_eq!(String::from_utf8(out).expect("UTF-8"), expected);
    }

    #[test]
    fn a_hit_is_one_line() {
        reads(&baked(State::Hit), "app    hit     c0ffee        store      1.23 s  for podman\n");
    }

    #[test]
    fn a_long_name_has_a_line_of_its_own() {
        let image = "n".repeat(NAMES + 1);
        let mut out = Vec::new();
        text(&Baked { image, ..baked(State::Hit) }, 99, &mut out).expect("a buffer");
        text(&Baked { engine: None, ..baked(State::Hit) }, 99, &mut out).expect("a buffer");
        let out = String::from_utf8(out).expect("UTF-8");
        let lines: Vec<_> = out.lines().collect();
        assert_eq!(lines[0], "n".repeat(NAMES + 1));
        assert_eq!([lines[1].find("hit"), lines[3].find("hit")], [Some(NAMES + 2); 2]);
        assert_eq!(lines[3].chars().count(), COLUMNS);
    }

    #[test]
    fn an_index_says_for_what_it_is_and_is_not_counted() {
        let platforms = vec!["linux/amd64".to_owned(), "linux/arm64".to_owned()];
        let index = Baked { engine: None, platforms, ..baked(State::Hit) };
        reads(&index, "app    hit     c0ffee        store      1.23 s  for linux/amd64, linux/arm64\n");
        let mut sum = Sum::default();
        sum.add(&index);
        assert_eq!(sum, Sum::default());
    }

    #[test]
    fn files_that_were_written_are_counted() {
        let written = Baked { engine: None, outputs: Some(3), ..baked(State::Hit) };
        reads(&written, "app    hit     c0ffee        store      1.23 s  outputs: 3 files\n");
        let there = Baked { engine: None, outputs: Some(0), ..baked(State::Hit) };
        reads(&there, "app    hit     c0ffee        store      1.23 s\n");
    }

    #[test]
    fn many_changes_are_counted() {
        let lines = (1..=7).map(|n| format!("changed {n}")).collect();
        let changes = Some(Changes { since: "feedbeef0123".into(), tier: None, lines });
        let reason = Some("7 changes since feedbeef0123".into());
        let built = Baked { reason, changes, saved: false, from: Some("docker"), ..baked(State::Built) };
        reads(
            &built,
            "app    built   c0ffee        docker     1.23 s\n    7 changes since feedbeef0123  not saved\n    changed 1\n    \
             changed 2\n    changed 3\n    changed 4\n    changed 5\n    and 2 more\n",
        );
    }

    #[test]
    fn json_is_one_line_with_every_field() {
        let mut out = Vec::new();
        json(&baked(State::Hit), &mut out).expect("a buffer");
        assert_eq!(
            String::from_utf8(out).expect("UTF-8"),
            "{\"image\":\"app\",\"wave\":1,\"needs\":[],\"state\":\"hit\",\"key\":\"c0ffee\",\"from\":\"store\",\"engine\":\"podman\",\"saved\":true,\
             \"platform\":\"linux/amd64\",\"tags\":[\"app:latest\"],\"outputs\":null,\"reason\":null,\"chain\":[],\"changes\":null,\"warnings\":[],\"key_warnings\":[],\"moved\":0,\"saved_seconds\":null,\"error\":null,\"seconds\":1.234}\n"
        );
    }
}
