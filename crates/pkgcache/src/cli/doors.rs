//! `detect`, `env` and `env --check`: which indexes clients use, and what leads them here.

use std::io::Write;

use camino::Utf8PathBuf;
use clap::{Args, ValueEnum};
use miette::{IntoDiagnostic, WrapErr};
use pkgcache::clients::forms::{self, Form};
use pkgcache::clients::plan::{Named, Plan};
use pkgcache::clients::pointers::{Here, Mount};
use pkgcache::clients::{address, check, registries};
use pkgcache::{Config, Error, Listen, Options};
use serde::Serialize;
use storekit::printable;
use toolkit::{Environment, Outcome, output};

use crate::cli::ask::http;
use crate::cli::machine::Machine;

/// The variable in which `run` says where the cache is.
pub(crate) const URL: &str = "LARDER_PKGCACHE_URL";

#[derive(Args)]
pub(crate) struct DetectArgs {
    /// Read the files of a machine below this folder, such as an unpacked image; no client is asked
    #[arg(long, value_name = "DIR")]
    root: Option<Utf8PathBuf>,
}

#[derive(Args)]
pub(crate) struct EnvArgs {
    /// Who is to read it
    ///
    /// sh, fish: variables to be set, and files of clients that know no variable, as comments.
    /// json: all of it as one object. docker: arguments of `docker build`; a step sees those that
    /// the Dockerfile declares with ARG, and `http_proxy` always. compose: such arguments for a
    /// compose file. ci: lines `NAME=VALUE`, as for `$GITHUB_ENV`. buildkitd, containerd, podman:
    /// their settings for the registries.
    #[arg(long = "for", value_enum, default_value_t = For::Sh, value_name = "FORM", hide_possible_values = true)]
    form: For,
    /// Where the clients reach the cache [default: `LARDER_PKGCACHE_URL`, else where it listens]
    ///
    /// Inside a build or a container 127.0.0.1 is another machine, but for `--network host`.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Make each client's cheapest request to the running cache; exits 1 where one fails
    #[arg(long)]
    check: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum For {
    Sh,
    Fish,
    Json,
    Docker,
    Compose,
    Buildkitd,
    Containerd,
    Podman,
    Ci,
}

impl For {
    fn form(self) -> Form {
        match self {
            Self::Sh => Form::Sh,
            Self::Fish => Form::Fish,
            Self::Json => Form::Json,
            Self::Docker => Form::Docker,
            Self::Compose => Form::Compose,
            Self::Buildkitd => Form::Buildkitd,
            Self::Containerd => Form::Containerd,
            Self::Podman => Form::Podman,
            Self::Ci => Form::Ci,
        }
    }
}

/// Whether the options name nothing that could be cached.
pub(crate) fn is_unset(options: &Options) -> bool {
    let Options { upstream, registry, allow, tunnel, .. } = options;
    upstream.is_empty() && registry.is_empty() && allow.is_none() && tunnel.is_none()
}

/// The options, with what is found on this machine where they name no upstream. `tell` gets a line
/// for each that was found.
pub(crate) fn completed(
    options: Options,
    environment: &Environment,
    tell: &mut dyn FnMut(&str),
) -> miette::Result<Options> {
    if !is_unset(&options) {
        return Ok(options);
    }
    let listen = options.config(&environment.folder)?.listen;
    let plan = Machine::this(environment).plan(&own(&listen, environment));
    plan.lines().for_each(|line| tell(&line));
    if !plan.private.is_empty() {
        tell(&format!("upstreams may have private addresses, as {} has", plan.private.join(", ")));
    }
    plan.notes.iter().for_each(|note| tell(note));
    Ok(options.or(plan.options()))
}

/// The names under which this machine's clients may know the cache; also one that this process runs
/// beside.
pub(crate) fn own(listen: &Listen, environment: &Environment) -> Vec<String> {
    let mut own = vec![listen.to_string()];
    own.extend(environment.get(URL).map(|url| address::authority(url).to_owned()));
    if let Some(address) = listen.net().filter(|it| it.ip().is_loopback() || it.ip().is_unspecified()) {
        own.extend(["127.0.0.1", "localhost", "[::1]"].map(|host| format!("{host}:{}", address.port())));
    }
    own
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Row<'a> {
    name: &'a str,
    kind: &'static str,
    url: &'a str,
    from: &'a str,
    has_credentials: bool,
}

/// Prints what this machine's clients use, as a part of larder.toml. `No` where nothing was found.
pub(crate) fn detect(
    args: &DetectArgs,
    options: &Options,
    environment: &Environment,
    json: bool,
    out: &mut dyn Write,
) -> miette::Result<Outcome> {
    let listen = options.config(&environment.folder)?.listen;
    let machine = match &args.root {
        Some(root) => Machine::below(&environment.folder.join(root)),
        None => Machine::this(environment),
    };
    let plan = machine.plan(&own(&listen, environment));
    if json {
        print_json(&plan, out).map_err(Error::Output)?;
    } else {
        out.write_all(plan.to_toml().trim_start().as_bytes()).map_err(Error::Output)?;
    }
    out.flush().map_err(Error::Output)?;
    Ok(Outcome::from_bool(!plan.is_empty()))
}

fn print_json(plan: &Plan, out: &mut dyn Write) -> std::io::Result<()> {
    for Named { name, index } in plan.mounts.iter().chain(&plan.registries) {
        let kind = index.ecosystem.name();
        let has_credentials = index.has_credentials;
        output::json_line(out, &Row { name, kind, url: &index.url, from: &index.from, has_credentials })?;
    }
    for note in &plan.notes {
        output::json_line(out, &serde_json::json!({ "note": note }))?;
    }
    Ok(())
}

/// The cache at `url`, as its clients see it.
pub(crate) fn here(config: &Config, url: &str, machine: &Machine, environment: &Environment) -> Here {
    let found = machine.found(&own(&config.listen, environment));
    let mount = |it: &pkgcache::Upstream| {
        Mount::new(&it.name, it.kind, &it.url.to_string(), it.keep_private, &found.indexes)
    };
    Here {
        go: found.go.clone(),
        reveals: false,
        git_settings: environment.get("GIT_CONFIG_COUNT").and_then(|it| it.parse().ok()).unwrap_or(0),
        url: url.trim_end_matches('/').to_owned(),
        mounts: config.upstreams.iter().map(mount).collect(),
        registries: config.registries.iter().filter(|it| !it.has_models).map(|it| it.name.clone()).collect(),
        models: config.default_registry(true).filter(|it| it.has_models).map(|it| it.name.clone()),
    }
}

/// Prints what leads clients to the cache, or checks that they find what they need there. `is_set`
/// says whether somebody set what is mounted.
pub(crate) fn env(
    args: &EnvArgs,
    (config, is_set): (&Config, bool),
    environment: &Environment,
    common: &toolkit::Common,
    out: &mut dyn Write,
) -> miette::Result<Outcome> {
    let listening = config.listen.net().map(|address| format!("http://{address}"));
    let given = args.url.as_deref().or_else(|| environment.get(URL));
    let Some(url) = given.or(listening.as_deref()) else {
        return Err(miette::miette!(
            help = "say with `--url` where a server in front of it answers",
            "clients cannot be led to `{}`: they want a URL",
            config.listen
        ));
    };
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return Err(miette::miette!(help = "write `http://HOST:PORT`", "`{}` is not a URL", printable(url)));
    }
    let machine = Machine::this(environment);
    let mut here = here(config, url, &machine, environment);
    if args.check {
        if !is_set {
            // An engine that is led nowhere asks its built-in registry itself.
            let found = machine.registries(&own(&config.listen, environment));
            here.registries.retain(|name| !registries::is_built_in_alone(&found, name));
        }
        return checked(&here, &machine, common, out);
    }
    let form = if common.json { Form::Json } else { args.form.form() };
    let written = forms::write(&here, form);
    out.write_all(written.text.as_bytes()).and_then(|()| out.flush()).map_err(Error::Output)?;
    if !common.quiet {
        written.notes.iter().for_each(|note| output::say(note));
    }
    Ok(Outcome::Yes)
}

/// What a check says.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Checked<'a> {
    name: &'a str,
    kind: &'static str,
    target: &'a str,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

fn checked(
    here: &Here,
    machine: &Machine,
    common: &toolkit::Common,
    out: &mut dyn Write,
) -> miette::Result<Outcome> {
    if !here.url.starts_with("http://") {
        return Err(miette::miette!("only a cache at an `http://` address can be checked"));
    }
    http::get(&here.url, "/healthz", "*/*").into_diagnostic().wrap_err_with(|| {
        format!("no cache answers at `{}`: start one with `pkgcache serve`", printable(&here.url))
    })?;
    let checks = check::checks(here, &machine.suites());
    let mut all = !checks.is_empty();
    if !all && !common.quiet {
        output::say("nothing is mounted that could be checked");
    }
    for check in checks {
        let answer = http::get(&here.url, &check.target, check.accept);
        let verdict = answer.map_err(|error| error.to_string()).and_then(|it| check::judge(&check, &it));
        all &= verdict.is_ok();
        let row = Checked {
            name: &check.name,
            kind: check.ecosystem.name(),
            target: &check.target,
            ok: verdict.is_ok(),
            problem: verdict.err(),
        };
        print_check(&row, common.json, out).map_err(Error::Output)?;
    }
    Ok(Outcome::from_bool(all))
}

fn print_check(row: &Checked<'_>, json: bool, out: &mut dyn Write) -> std::io::Result<()> {
    if json {
        return output::json_line(out, row);
    }
    let name = if row.name.is_empty() { "/" } else { row.name };
    let what = row.problem.as_deref().unwrap_or("ok");
    writeln!(out, "{} ({}): {} [{}]", printable(name), row.kind, printable(what), printable(row.target))
}
