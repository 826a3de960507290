//! `--tier`: the commands that ask a place other than the store, and what they print.

use imgtar::Error;
use imgtar::image::Stored;
use imgtar::tier::{self, Config, Place, Pulled, Pushed};
use imgtar::{registry::Tally, repository};
use miette::Result;
use serde::Serialize;
use storekit::{Age, Digest, Key, KeyOrName, Store};
use toolkit::{Outcome, Output};

use crate::cli::NoteArgs;
use crate::cli::registry::told;
use crate::cli::registry_args::{PushArgs, RegistryArgs};
use crate::cli::run::{Invocation, out};

/// Another place, where images stand under their keys.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Places")]
pub(crate) struct TierArgs {
    /// A place where images stand under their keys: `store:DIR`, another store;
    /// `registry:HOST/REPOSITORY`, where each key is a tag
    #[arg(long, value_name = "PLACE")]
    pub(crate) tier: Option<Place>,
    /// How long the place may be silent, such as `5s`: what did not answer is not asked again
    #[arg(long, value_name = "TIME", requires = "tier")]
    pub(crate) timeout: Option<Age>,
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

/// What `push --tier --json` prints.
#[derive(Serialize)]
struct PushedLine<'a> {
    tier: &'a Place,
    #[serde(flatten)]
    pushed: &'a Pushed,
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
        let found = tier::has(&self.tiers(args, registry), place, &keys)?;
        for (key, found) in keys.iter().zip(&found) {
            if found.is_none() {
                self.not_there(key, place);
            }
            if self.view.common.json {
                let (there, digest) = (found.is_some(), found.and_then(|found| found.digest));
                out(Output::report().json(&HasLine { key, tier: place, there, digest }))?;
            }
        }
        Ok(Outcome::from_bool(found.iter().all(Option::is_some)))
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
        let config = self.tiers(args, registry);
        let pulled = tier::pull(&store, &config, place, &key, notes.force, &self.bar())?;
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
        let config = self.tiers(&args.tier, &args.registry);
        let pushed = tier::push(store, &config, place, key, args.force, &self.bar())?;
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

    fn not_there(&self, key: &Key, place: &Place) -> Outcome {
        self.view.say(&format!("there is no `{key}` in `{place}`"));
        Outcome::No
    }

    fn tiers(&self, args: &TierArgs, registry: &RegistryArgs) -> Config {
        Config { registries: self.registries(registry), timeout: args.timeout.map(|age| age.0) }
    }
}

/// A whole key: places are asked for nothing else.
fn whole(text: &str) -> Result<Key, Error> {
    text.parse().map_err(|_| Error::Usage {
        message: format!("`{text}` is not a key"),
        help: "a place knows images by their whole keys, as `imgtar ls` prints them",
    })
}
