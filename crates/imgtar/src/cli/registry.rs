//! `push`, `pull`, `resolve` and `has --remote`: what the environment says of registries, and what
//! is printed.

use std::io::Write;

use camino::Utf8PathBuf;
use imgtar::Error;
use imgtar::engine::Kind;
use imgtar::image::Stored;
use imgtar::registry::pull::Wanted;
use imgtar::registry::push::Options;
use imgtar::registry::{self, Config, Credentials, Named, Patience, Proxies, Pulled, Pushed, Tally};
use miette::Result;
use serde::Serialize;
use storekit::Reference;
use storekit::{Age, ByteSize, Digest, Key, Store, printable};
use toolkit::net::{self, Authorities};
use toolkit::settings::Environment;
use toolkit::{Outcome, Output};

use crate::cli::registry_args::{PullArgs, PushArgs, RegistryArgs, ResolveArgs, RetagArgs, TagsArgs};
use crate::cli::run::{Invocation, out, read_notes};

/// What `pull --json` prints.
#[derive(Serialize)]
struct PulledLine<'a> {
    reference: &'a Reference,
    key: &'a Key,
    /// `false` where an earlier save stands.
    saved: bool,
    digest: Digest,
    media_type: &'a str,
    ids: Vec<Digest>,
    names: &'a [String],
    #[serde(flatten)]
    tally: Tally,
}

/// What `resolve --json` and `has --remote --json` print.
#[derive(Serialize)]
struct ResolvedLine<'a> {
    reference: &'a Reference,
    /// `null` where there is no such image.
    digest: Option<Digest>,
}

impl Invocation<'_> {
    pub(crate) fn push(&self, args: &PushArgs) -> Result<Outcome> {
        let Some((store, key)) = self.find(&args.key)? else { return Ok(self.absent(&args.key)) };
        if args.references.is_empty() {
            return self.tier_push(&store, &key, args);
        }
        let options = Options {
            mend: false,
            form: args.compress.form(),
            from: args.from.clone(),
            foreign: args.foreign,
            note: args.note_key.then(|| key.clone()),
        };
        options.from.iter().try_for_each(|from| repository(from))?;
        if args.check.is_some() {
            let config = self.within(args.check, &args.registry);
            for (reference, _) in by_repository(&args.references) {
                registry::takes(&config, &reference)?;
                self.view.say(&format!("{}/{} takes a push", reference.registry(), reference.repository()));
            }
            return Ok(Outcome::Yes);
        }
        let config = self.registries(&args.registry);
        for (reference, more) in by_repository(&args.references) {
            let pushed = registry::push(&store, &config, &key, (&reference, &more), &options, &self.bar())?;
            let Some(pushed) = pushed else { return Ok(self.miss(&key)) };
            self.tell_pushed(&pushed)?;
        }
        Ok(Outcome::Yes)
    }

    fn tell_pushed(&self, pushed: &Pushed) -> Result<()> {
        let Pushed { reference, also, digest, tally, foreign_made_own, .. } = pushed;
        self.view.say(&format!("pushed {reference}: {digest}, {}", told(tally)));
        for name in also {
            self.view.say(&format!("pushed {name}: {digest}"));
        }
        if *foreign_made_own {
            self.view.say("the registry does not take layers that are kept elsewhere: they were pushed to it, and the digest is different");
        }
        if self.view.common.json {
            out(Output::report().json(pushed))?;
        }
        Ok(())
    }

    pub(crate) fn tags(&self, args: &TagsArgs) -> Result<Outcome> {
        let Some(tags) = registry::tags(&self.within(args.timeout, &args.registry), &args.repository)? else {
            return Ok(self.no_image(&args.repository));
        };
        let mut listing = Output::listing();
        for tag in tags {
            out(if self.view.common.json {
                listing.json(&serde_json::json!({ "tag": tag }))
            } else {
                writeln!(listing, "{}", printable(&tag))
            })?;
        }
        Ok(Outcome::Yes)
    }

    pub(crate) fn retag(&self, args: &RetagArgs) -> Result<Outcome> {
        let RetagArgs { reference, names, timeout, registry } = args;
        if !registry::retag(&self.within(*timeout, registry), reference, names)? {
            return Ok(self.no_image(reference));
        }
        for name in names {
            self.view.say(&format!("{name} is {reference}"));
        }
        Ok(Outcome::Yes)
    }

    fn resolve_key(&self, reference: &Reference, args: &RegistryArgs) -> Result<Outcome> {
        let Some(key) = registry::key(&self.registries(args), reference)? else {
            return Ok(self.no_image(reference));
        };
        let Ok(key) = key.parse::<Key>() else {
            self.view.say(&format!("`{reference}` does not say by what key it is known"));
            return Ok(Outcome::No);
        };
        out(if self.view.common.json {
            Output::listing().json(&serde_json::json!({ "reference": reference, "key": key }))
        } else {
            writeln!(Output::listing(), "{key}")
        })?;
        Ok(Outcome::Yes)
    }

    pub(crate) fn pull(&self, args: PullArgs) -> Result<Outcome> {
        let PullArgs { reference, key, platform, notes, tier, registry } = args;
        if let Some(place) = &tier.tier {
            return self.tier_pull(&reference, place, &notes, &tier, &registry);
        }
        let reference: Reference = reference.parse()?;
        let wanted = Wanted { key, platform, notes: read_notes(notes)? };
        let config = self.registries(&registry);
        let store = Store::open_or_create(&self.root)?;
        match registry::pull(&store, &config, &reference, &wanted, &self.bar())? {
            None => Ok(self.no_image(&reference)),
            Some(pulled) => self.pulled(&store, &reference, &pulled),
        }
    }

    fn pulled(&self, store: &Store, reference: &Reference, pulled: &Pulled) -> Result<Outcome> {
        let Pulled { key, imported, tally } = pulled;
        let stored = Stored::expect(&store.images(), key)?;
        let digest = imported.entry.descriptor.digest;
        self.view.say(&if imported.saved {
            format!("pulled {reference} as {key}: {digest}, {}", told(tally))
        } else {
            format!("{key} is stored already: {digest}")
        });
        if self.view.common.json {
            out(Output::report().json(&PulledLine {
                reference,
                key,
                saved: imported.saved,
                digest,
                media_type: &imported.entry.descriptor.media_type,
                ids: stored.images.iter().map(imgtar::image::Image::id).collect(),
                names: &imported.entry.names,
                tally: *tally,
            }))?;
        }
        Ok(Outcome::Yes)
    }

    pub(crate) fn resolve(&self, args: &ResolveArgs) -> Result<Outcome> {
        if registry::is_address(&args.reference) {
            return self.resolve_file(args);
        }
        let reference: Reference = args.reference.parse()?;
        if args.key {
            return self.resolve_key(&reference, &args.registry);
        }
        let digest = match args.engine {
            Some(engine) => self.resolve_in(engine, &args.reference, &reference)?,
            None => registry::resolve(&self.registries(&args.registry), &reference, args.platform.as_ref())?,
        };
        let Some(digest) = digest else {
            if args.engine.is_some() {
                self.view.say(&format!("the engine has no image `{}`", args.reference));
                return Ok(Outcome::No);
            }
            return Ok(self.no_image(&reference));
        };
        out(if self.view.common.json {
            Output::listing().json(&ResolvedLine { reference: &reference, digest: Some(digest) })
        } else {
            writeln!(Output::listing(), "{digest}")
        })?;
        Ok(Outcome::Yes)
    }

    fn resolve_file(&self, args: &ResolveArgs) -> Result<Outcome> {
        let address = &args.reference;
        let Some(digest) = registry::digest_of_file(&self.registries(&args.registry), address)? else {
            self.view.say(&format!("there is no file at {address}"));
            return Ok(Outcome::No);
        };
        out(if self.view.common.json {
            Output::listing().json(&serde_json::json!({ "reference": address, "digest": digest }))
        } else {
            writeln!(Output::listing(), "{digest}")
        })?;
        Ok(Outcome::Yes)
    }

    /// The digest that the engine knows the image by in the registry; where there is none, the
    /// image's ID.
    fn resolve_in(&self, engine: Kind, name: &str, reference: &Reference) -> Result<Option<Digest>> {
        let Some(known) = self.engine_of(engine).digests(name)? else { return Ok(None) };
        let of_it = |known: &&Reference| {
            (known.registry(), known.repository()) == (reference.registry(), reference.repository())
        };
        let digest = known.remote.iter().find(of_it).and_then(|known| known.digest().copied());
        if digest.is_none() {
            self.view.say(&format!("`{name}` was not pulled from that registry: this is the image's ID"));
        }
        Ok(Some(digest.unwrap_or(known.id)))
    }

    pub(crate) fn has_remote(&self, references: &[Reference], args: &RegistryArgs) -> Result<Outcome> {
        let config = self.registries(args);
        let mut all = true;
        for reference in references {
            let digest = registry::resolve(&config, reference, None)?;
            if self.view.common.json {
                out(Output::report().json(&ResolvedLine { reference, digest }))?;
            }
            if digest.is_none() {
                self.no_image(reference);
                all = false;
            }
        }
        Ok(Outcome::from_bool(all))
    }

    fn no_image(&self, reference: &Reference) -> Outcome {
        self.view.say(&format!("there is no `{reference}`"));
        Outcome::No
    }

    /// The same, of registries that may be silent for so long.
    fn within(&self, limit: Option<Age>, args: &RegistryArgs) -> Config {
        let config = self.registries(args);
        let patience = limit.map_or(config.patience, |limit| Patience::within(limit.0));
        Config { patience, ..config }
    }

    pub(crate) fn registries(&self, args: &RegistryArgs) -> Config {
        let environment = self.settings.environment();
        let realm = environment.get("LARDER_AUTH_REALM").map(str::to_owned);
        let Authorities { certificates, problems } = net::authorities();
        for problem in problems {
            self.view.warn(&format!("some certificates of authorities cannot be read: {problem}"));
        }
        Config {
            roots: certificates,
            proxies: proxies(environment),
            credentials: Credentials { files: auth_files(environment) },
            realms: args.auth_realm.iter().cloned().chain(realm).collect(),
            plain_http: args.plain_http,
            parallel: args.jobs.into(),
            ..Config::default()
        }
    }
}

/// The references by their repositories: of each the first one, and the others.
fn by_repository(references: &[Reference]) -> Vec<(Reference, Vec<Reference>)> {
    let mut groups: Vec<(Reference, Vec<Reference>)> = Vec::new();
    for reference in references {
        let place = |of: &Reference| (of.registry().to_owned(), of.repository().to_owned());
        match groups.iter_mut().find(|(first, _)| place(first) == place(reference)) {
            Some((_, more)) => more.push(reference.clone()),
            None => groups.push((reference.clone(), Vec::new())),
        }
    }
    groups
}

/// A repository's name becomes a part of a URL.
fn repository(name: &str) -> Result<(), Error> {
    let reference = format!("registry.invalid/{name}").parse::<Reference>();
    if reference.is_ok_and(|reference| reference.repository() == name) {
        return Ok(());
    }
    let message = format!("`--from {name}` names no repository");
    Err(Error::Usage { message, help: "write it without registry and tag, such as `team/app`" })
}

pub(crate) fn told(tally: &Tally) -> String {
    let Tally { moved_bytes, moved_blobs, skipped_bytes, skipped_blobs, mounted_blobs } = *tally;
    let blobs = |count| if count == 1 { "1 blob".to_owned() } else { format!("{count} blobs") };
    let elsewhere =
        if mounted_blobs > 0 { format!(" ({mounted_blobs} in another repository)") } else { String::new() };
    format!(
        "{} in {} moved, {} in {} there already{elsewhere}",
        ByteSize(moved_bytes),
        blobs(moved_blobs),
        ByteSize(skipped_bytes),
        blobs(skipped_blobs)
    )
}

/// The files in which docker and podman keep credentials, the one that goes first at the front.
fn auth_files(environment: &Environment) -> Vec<Utf8PathBuf> {
    let folder = |name: &str| environment.get(name).map(|path| environment.folder.join(path));
    if let Some(file) = folder("REGISTRY_AUTH_FILE") {
        return vec![file];
    }
    let home = folder("HOME");
    let config = folder("XDG_CONFIG_HOME").or_else(|| home.as_ref().map(|home| home.join(".config")));
    let own = folder("DOCKER_CONFIG").map(|folder| folder.join("config.json"));
    let runtime = folder("XDG_RUNTIME_DIR").map(|folder| folder.join("containers/auth.json"));
    let podman = config.map(|folder| folder.join("containers/auth.json"));
    let docker = home.map(|home| home.join(".docker/config.json"));
    [own, runtime, podman, docker].into_iter().flatten().collect()
}

/// In lower case they go first, as with curl. `HTTP_PROXY` in upper case is what a CGI script's
/// client says.
fn proxies(environment: &Environment) -> Proxies {
    let first = |names: &[&str]| {
        let named = |name: &&str| {
            Some(Named { variable: (*name).to_owned(), url: environment.get(name)?.to_owned() })
        };
        names.iter().find_map(named)
    };
    Proxies {
        https: first(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]),
        http: first(&["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
            .filter(|_| environment.get("REQUEST_METHOD").is_none()),
        none: first(&["no_proxy", "NO_PROXY"]).map(|none| none.url).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Environment { folder: "/work".into(), variables: variables.collect() }
    }

    #[test]
    fn credentials_are_where_docker_and_podman_keep_them() {
        let all = [("HOME", "/h"), ("XDG_RUNTIME_DIR", "/r"), ("DOCKER_CONFIG", "d")];
        assert_eq!(
            auth_files(&environment(&all)),
            [
                "/work/d/config.json",
                "/r/containers/auth.json",
                "/h/.config/containers/auth.json",
                "/h/.docker/config.json"
            ]
        );
        assert_eq!(
            auth_files(&environment(&[("HOME", "/h"), ("REGISTRY_AUTH_FILE", "a.json")])),
            ["/work/a.json"]
        );
        assert!(auth_files(&environment(&[])).is_empty());
    }

    #[test]
    fn proxies_are_where_curl_looks_for_them() {
        let both =
            [("https_proxy", "low"), ("HTTPS_PROXY", "high"), ("NO_PROXY", "a,b"), ("ALL_PROXY", "all")];
        let proxies = proxies(&environment(&both));
        let told =
            |proxy: &Option<Named>| proxy.clone().map(|Named { variable, url }| (variable, url)).unwrap();
        assert_eq!(told(&proxies.https), ("https_proxy".to_owned(), "low".to_owned()));
        assert_eq!(told(&proxies.http), ("ALL_PROXY".to_owned(), "all".to_owned()));
        assert_eq!(proxies.none, "a,b");
    }
}
