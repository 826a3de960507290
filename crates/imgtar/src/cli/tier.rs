//! `--tier`: the commands that ask a place other than the store, and what they print.

use std::fs::File;
use std::io::{BufReader, Write};

use camino::{Utf8Path, Utf8PathBuf};
use imgtar::Error;
use imgtar::image::Stored;
use imgtar::image::signature::PublicKey;
use imgtar::registry::{self, Tally};
use imgtar::repository;
use imgtar::tier::{self, Config, NotedRow, Place, Pulled, Pushed, Removal, Row, Standing};
use jiff::Timestamp;
use miette::Result;
use serde::Serialize;
use storekit::error::At;
use storekit::{Age, ByteSize, Digest, Key, KeyOrName, Origin, Store};
use toolkit::bucket::Account;
use toolkit::output;
use toolkit::settings::Environment;
use toolkit::table::{Align, Table};
use toolkit::words::count;
use toolkit::{Outcome, Output};

use crate::cli::NoteArgs;
use crate::cli::registry::told;
use crate::cli::registry_args::{PushArgs, RegistryArgs};
use crate::cli::run::{Invocation, out};
use crate::cli::signing;

/// Another place, where images stand under their keys.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Places")]
pub(crate) struct TierArgs {
    /// A place where images stand under their keys: `store:DIR`, another store;
    /// `registry:HOST/REPOSITORY`, where each key is a tag; `s3:https://HOST/BUCKET[/PREFIX]`, with
    /// the credentials in AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, and the
    /// region in AWS_REGION
    #[arg(long, value_name = "PLACE")]
    pub(crate) tier: Option<Place>,
    /// How long the place may be silent, such as `5s`: what did not answer is not asked again. Nor
    /// is a place whose slow answers together have taken as long: those of more than half a second,
    /// or a second with TLS
    #[arg(long, value_name = "TIME", requires = "tier")]
    pub(crate) timeout: Option<Age>,
    /// A public key of Ed25519 in PEM: what is not signed by it, or by another one that is named
    /// so, counts as not there (`sign` and LARDER_SIGNING_KEY sign)
    #[arg(long, value_name = "FILE", requires = "tier")]
    pub(crate) signed_by: Vec<Utf8PathBuf>,
}

/// What `has --tier --json` prints for each key.
#[derive(Serialize)]
struct HasLine<'a> {
    key: &'a Key,
    tier: &'a Place,
    there: bool,
    /// Of its image, where the place tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
}

/// What `rm --tier --json` prints for each key.
#[derive(Serialize)]
struct RemovedLine<'a> {
    key: &'a Key,
    tier: &'a Place,
    /// `false` where nothing stood under it.
    removed: bool,
}

/// What `push --tier --json` prints.
#[derive(Serialize)]
struct PushedLine<'a> {
    tier: &'a Place,
    #[serde(flatten)]
    pushed: &'a Pushed,
}

/// What is printed with `--json`, beside the rest, where a place was slow.
#[derive(Serialize)]
struct SlowLine<'a> {
    tier: &'a Place,
    /// How long slow answers were waited for.
    slow_seconds: f64,
}

/// What is printed with `--json` where a place answers, and could not do what it was asked for.
#[derive(Serialize)]
struct UnableLine<'a> {
    tier: &'a Place,
    /// The status that it answered with, from 500 on.
    server_error: u16,
}

/// What `push --tier --json` prints where the place keeps what is damaged.
#[derive(Serialize)]
struct KeptLine<'a> {
    tier: &'a Place,
    key: &'a Key,
    kept_damaged: Digest,
}

/// What `pull --tier --json` prints.
#[derive(Serialize)]
struct PulledLine<'a> {
    tier: &'a Place,
    key: &'a Key,
    /// `false` where an earlier save stands.
    saved: bool,
    digest: Digest,
    media_type: &'a str,
    ids: &'a [Digest],
    names: &'a [String],
    #[serde(flatten)]
    tally: Tally,
}

impl Invocation<'_> {
    pub(crate) fn tier_has(
        &self,
        texts: &[KeyOrName],
        place: &Place,
        args: &TierArgs,
        registry: &RegistryArgs,
    ) -> Result<Outcome> {
        let keys = texts.iter().map(|text| whole(text.as_str())).collect::<Result<Vec<_>, _>>()?;
        let config = self.tiers(place, args, registry)?;
        let found = tier::has(&config, place, &keys);
        self.tell_slow(place, &config)?;
        self.tell_unable(place, found.as_ref().err())?;
        let found = found?;
        for (key, found) in keys.iter().zip(&found) {
            match found {
                Some(found) if !found.is_trusted => Self::unsigned(key, place),
                Some(_) => {}
                None => drop(self.not_there(key, place)),
            }
            let found = found.filter(|found| found.is_trusted);
            if self.view.common.json {
                let (there, digest) = (found.is_some(), found.and_then(|found| found.digest));
                out(Output::report().json(&HasLine { key, tier: place, there, digest }))?;
            }
        }
        Ok(Outcome::from_bool(found.iter().all(|found| found.is_some_and(|found| found.is_trusted))))
    }

    pub(crate) fn tier_pull(
        &self,
        key: &str,
        place: &Place,
        notes: &NoteArgs,
        args: &TierArgs,
        registry: &RegistryArgs,
    ) -> Result<Outcome> {
        let key = whole(key)?;
        if notes.says_anything() {
            let message = "`--tier` brings what is noted with the image along".to_owned();
            return Err(Error::Usage { message, help: "leave out what is to be noted" }.into());
        }
        let store = Store::open_or_create(&self.root)?;
        let config = self.tiers(place, args, registry)?;
        let pulled = tier::pull(&store, &config, place, &key, notes.force, &self.bar());
        self.tell_slow(place, &config)?;
        self.tell_unable(place, pulled.as_ref().err())?;
        let pulled = match pulled {
            Err(Error::Tier(tier::Error::Unsigned { .. })) => {
                Self::unsigned(&key, place);
                return Ok(Outcome::No);
            }
            pulled => pulled?,
        };
        let Some(Pulled { imported, tally }) = pulled else { return Ok(self.not_there(&key, place)) };
        let digest = imported.entry.descriptor.digest;
        self.view.say(&if imported.saved {
            format!("pulled {key} from `{place}`: {digest}, {}", told(&tally))
        } else {
            format!("{key} is stored already: {digest}")
        });
        if self.view.common.json {
            let stored = Stored::expect(&store.images(), &key)?;
            out(Output::report().json(&PulledLine {
                tier: place,
                key: &key,
                saved: imported.saved,
                digest,
                media_type: &imported.entry.descriptor.media_type,
                ids: &stored.ids(),
                names: &imported.entry.names,
                tally,
            }))?;
        }
        Ok(Outcome::Yes)
    }

    pub(crate) fn tier_push(&self, store: &Store, key: &Key, args: &PushArgs) -> Result<Outcome> {
        let Some(place) = &args.tier.tier else { return Ok(self.miss(key)) };
        let config = self.tiers(place, &args.tier, &args.registry)?;
        let pushed = tier::push(store, &config, place, key, args.force, &self.bar());
        self.tell_slow(place, &config)?;
        let pushed = match pushed {
            Err(Error::Registry(registry::Error::Kept { registry, digest })) => {
                if self.view.common.json {
                    out(Output::report().json(&KeptLine { tier: place, key, kept_damaged: digest }))?;
                }
                return Err(Error::Registry(registry::Error::Kept { registry, digest }).into());
            }
            pushed => pushed?,
        };
        let Some(pushed) = pushed else { return Ok(self.miss(key)) };
        let Pushed { saved, digest, tally, .. } = &pushed;
        let own = store.images().get(key)?.map(|entry| entry.descriptor.digest);
        self.view.say(&if *saved {
            format!("pushed {key} to `{place}`: {digest}, {}", told(tally))
        } else if own == Some(*digest) {
            format!("{key} stands in `{place}` already: {digest}, {}", told(tally))
        } else {
            format!("another image stands under {key} in `{place}`: {digest}; it stays (`--force` would replace it)")
        });
        if let Place::Store(folder) = place
            && let Some(warning) = repository::unfiltered(folder)
        {
            self.view.warn(&warning);
        }
        if self.view.common.json {
            out(Output::report().json(&PushedLine { tier: place, pushed: &pushed }))?;
        }
        Ok(Outcome::Yes)
    }

    fn unsigned(key: &Key, place: &Place) {
        let error = tier::Error::Unsigned { place: place.to_string(), key: key.clone() };
        // Also with `--quiet`: who puts such an entry there may mean no good.
        output::warn(&error.to_string());
    }

    fn not_there(&self, key: &Key, place: &Place) -> Outcome {
        self.view.say(&format!("there is no `{key}` in `{place}`"));
        Outcome::No
    }

    pub(crate) fn tier_inputs(
        &self,
        key: &str,
        place: &Place,
        args: &TierArgs,
        registry: &RegistryArgs,
    ) -> Result<Outcome> {
        let key = whole(key)?;
        match tier::inputs(&self.tiers(place, args, registry)?, place, &key)? {
            Some(inputs) => self.tell_inputs(&key, inputs.as_deref()),
            None => Ok(self.not_there(&key, place)),
        }
    }

    pub(crate) fn tier_ls(
        &self,
        place: &Place,
        brief: bool,
        args: &TierArgs,
        registry: &RegistryArgs,
    ) -> Result<Outcome> {
        let config = self.tiers(place, args, registry)?;
        if brief {
            let rows = tier::noted(&config, place)?;
            return self.tell_rows(&rows, &["KEY", "IMAGE", "SAVED", "HOST", "NAMES"], noted_cells);
        }
        let rows = tier::list(&config, place)?;
        self.tell_rows(&rows, &["KEY", "IMAGE", "SIZE", "SAVED", "HOST", "NAMES"], cells)
    }

    fn tell_rows<R: Serialize, const N: usize>(
        &self,
        rows: &[R],
        columns: &[&'static str; N],
        cells: fn(&R) -> [String; N],
    ) -> Result<Outcome> {
        let mut to = Output::listing();
        if self.view.common.json {
            out(rows.iter().try_for_each(|row| to.json(row)))?;
            return Ok(Outcome::Yes);
        }
        let align = |name| (name, if name == "SIZE" { Align::Right } else { Align::Left });
        let mut table = Table::new(&columns.map(align));
        for row in rows {
            table.row(cells(row));
        }
        out(to.write_all(table.text(false).as_bytes()))?;
        Ok(Outcome::Yes)
    }

    pub(crate) fn tier_rm(
        &self,
        texts: &[KeyOrName],
        place: &Place,
        args: &TierArgs,
        registry: &RegistryArgs,
    ) -> Result<Outcome> {
        let keys = texts.iter().map(|text| whole(text.as_str())).collect::<Result<Vec<_>, _>>()?;
        let removal = self.removed(&keys, place, &self.tiers(place, args, registry)?)?;
        Ok(Outcome::from_bool(removal.absent.is_empty()))
    }

    /// Removes what a plan names and stands there still.
    pub(crate) fn tier_collect(
        &self,
        plan: &Utf8Path,
        place: &Place,
        args: &TierArgs,
        registry: &RegistryArgs,
    ) -> Result<Outcome> {
        let at = place.to_string();
        let planned = if plan == "-" {
            tier::planned::read(&mut std::io::stdin().lock(), &at)?
        } else {
            let file = File::open(plan).at("read", plan).map_err(Error::from)?;
            tier::planned::read(&mut BufReader::new(file), &at)?
        };
        let config = self.tiers(place, args, registry)?;
        let mut keys = Vec::new();
        for (planned, standing) in planned.iter().zip(tier::planned::standing(&config, place, &planned)?) {
            match standing {
                Standing::Same => keys.push(planned.key.clone()),
                Standing::Other => {
                    self.view.say(&format!("kept `{}`: another image stands under it by now", planned.key));
                }
                Standing::Nothing => self.view.say(&format!("`{}` is gone already", planned.key)),
            }
        }
        if !keys.is_empty() {
            let removal = self.removed(&keys, place, &config)?;
            self.view
                .say(&format!("removed {} from `{place}`", count(removal.removed.len() as u64, "image")));
        }
        Ok(Outcome::Yes)
    }

    /// Removes the keys, and says what came of it.
    fn removed(&self, keys: &[Key], place: &Place, config: &Config) -> Result<Removal> {
        let removal = tier::remove(config, place, keys)?;
        for key in &removal.followed {
            self.view.say(&format!("`{key}` referred to what was removed, and went with it"));
        }
        for key in &removal.absent {
            self.not_there(key, place);
        }
        if removal.blobs > 0 {
            let blobs = count(removal.blobs, "blob");
            self.view.say(&format!("{blobs} ({}) went that no key needs", ByteSize(removal.bytes)));
        }
        if let Some(why) = &removal.spared {
            self.view.warn(&format!("no blob was removed from `{place}`, since one may be needed: {why}"));
        }
        if self.view.common.json {
            let mut to = Output::report();
            for (keys, removed) in
                [(&removal.removed, true), (&removal.followed, true), (&removal.absent, false)]
            {
                out(keys.iter().try_for_each(|key| to.json(&RemovedLine { key, tier: place, removed })))?;
            }
        }
        Ok(removal)
    }

    /// Says how long a slow place was waited for, whatever came of it.
    fn tell_slow(&self, place: &Place, config: &Config) -> Result<()> {
        let slow_seconds = config.registries.waits.slow().as_secs_f64();
        if self.view.common.json && slow_seconds > 0.0 {
            out(Output::report().json(&SlowLine { tier: place, slow_seconds }))?;
        }
        Ok(())
    }

    fn tell_unable(&self, place: &Place, error: Option<&Error>) -> Result<()> {
        match error.and_then(Error::server_error).filter(|_| self.view.common.json) {
            Some(server_error) => out(Output::report().json(&UnableLine { tier: place, server_error })),
            None => Ok(()),
        }
    }

    fn tiers(&self, place: &Place, args: &TierArgs, registry: &RegistryArgs) -> Result<Config, Error> {
        let account = match place {
            Place::S3(_) => account(self.settings.environment())?,
            Place::Store(_) | Place::Registry(_) => Account::default(),
        };
        let timeout = args.timeout.map(|age| age.0);
        let read_only = self.settings.environment().get("LARDER_READ_ONLY");
        let left_alone = read_only.is_some_and(|value| !matches!(value, "0" | "false"));
        let keys = args.signed_by.iter().map(|path| public_keys(path)).collect::<Result<Vec<_>, _>>()?;
        let signed_by = keys.concat();
        Ok(Config { registries: self.registries(registry), timeout, left_alone, account, signed_by })
    }
}

fn public_keys(path: &Utf8Path) -> Result<Vec<PublicKey>, Error> {
    let keys = signing::read_key(path).and_then(|text| PublicKey::all_from_pem(&text));
    keys.map_err(|reason| {
        let message = format!("`{path}` cannot be used as a public key: {reason}");
        Error::Usage { message, help: "`openssl pkey -in PRIVATE -pubout -out FILE` writes it" }
    })
}

/// The account that the environment names.
fn account(environment: &Environment) -> Result<Account, Error> {
    Account::of(environment)
        .map_err(|error| Error::Usage { message: error.to_string(), help: "set both, or neither" })
}

fn cells(row: &Row) -> [String; 6] {
    let image = match (&row.problem, &row.origin.image, &row.digest) {
        (Some(_), ..) => "damaged".to_owned(),
        (None, Some(image), _) => image.to_string(),
        (None, None, digest) => digest.map(|digest| digest.short()).unwrap_or_default(),
    };
    let [saved, host, names] = remarks(row.saved, &row.origin, &row.names);
    [row.key.to_string(), image, ByteSize(row.size).to_string(), saved, host, names]
}

fn noted_cells(row: &NotedRow) -> [String; 5] {
    let image = match (&row.problem, &row.origin.image) {
        (Some(_), _) => "damaged".to_owned(),
        (None, image) => image.as_ref().map(ToString::to_string).unwrap_or_default(),
    };
    let [saved, host, names] = remarks(row.saved, &row.origin, &row.names);
    [row.key.to_string(), image, saved, host, names]
}

fn remarks(saved: Option<Timestamp>, origin: &Origin, names: &[String]) -> [String; 3] {
    [
        saved.map(|saved| saved.strftime("%Y-%m-%d %H:%M").to_string()).unwrap_or_default(),
        origin.host.as_ref().map(ToString::to_string).unwrap_or_default(),
        names.join(" "),
    ]
}

/// What a place is not asked for but the inputs.
pub(crate) fn only_inputs() -> Error {
    Error::Usage {
        message: "`--tier` goes with `--inputs` alone".to_owned(),
        help: "`imgtar ls --tier PLACE` tells the rest",
    }
}

/// A whole key: places are asked for nothing else.
fn whole(text: &str) -> Result<Key, Error> {
    text.parse().map_err(|_| Error::Usage {
        message: format!("`{text}` is not a key"),
        help: "a place knows images by their whole keys, as `imgtar ls` prints them",
    })
}
