//! What another configuration changes, by the names that settings have.

use std::collections::BTreeMap;

use crate::config::Config;

/// What a configuration changes that takes another one's place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// What is another from now on.
    pub taken: Vec<String>,
    /// What is another in the new one, and holds only for a process that begins with it.
    pub fixed: Vec<&'static str>,
}

impl Changes {
    /// From one to the other.
    #[must_use]
    pub(crate) fn between(old: &Config, new: &Config) -> Self {
        let differ = |settings: &[(&'static str, bool)]| {
            settings.iter().filter(|(_, differs)| *differs).map(|(name, _)| *name).collect::<Vec<_>>()
        };
        let fixed = differ(&[
            ("listen", old.listen != new.listen),
            ("socket-mode", old.socket_mode != new.socket_mode),
            ("max-connections", old.limits.connections != new.limits.connections),
            ("remote", old.remote != new.remote),
        ]);
        let single = differ(&[
            ("allow", old.forward.hosts != new.forward.hosts),
            ("tunnel", old.forward.tunnels != new.forward.tunnels),
            ("intercept", old.intercept != new.intercept),
            ("allow-private", old.allow_private != new.allow_private),
            ("parent", old.parent != new.parent),
            ("offline", old.offline != new.offline),
            ("heuristic-freshness", old.heuristic_freshness != new.heuristic_freshness),
            ("keep-cookies", old.keep_cookies != new.keep_cookies),
            ("ttl", old.ttl != new.ttl),
            ("stale-window", old.stale_window != new.stale_window),
            ("clients", old.clients.networks != new.clients.networks),
            ("token-file", old.clients.token != new.clients.token),
            ("max-object", old.limits.object != new.limits.object),
            ("max-connections-per-client", old.limits.client_connections != new.limits.client_connections),
            ("head-time", old.limits.head_time != new.limits.head_time),
            ("idle-time", old.limits.idle != new.limits.idle),
            ("answer-time", old.limits.answer != new.limits.answer),
            ("drain-time", old.limits.drain != new.limits.drain),
            ("access-log", old.access_log != new.access_log),
            ("keep-events", old.keep_events != new.keep_events),
            ("guards", old.guards != new.guards),
        ]);
        let upstreams = |config: &Config| named(&config.upstreams, |it| &it.name);
        let registries = |config: &Config| named(&config.registries, |it| &it.name);
        let mut taken: Vec<_> = single.into_iter().map(str::to_owned).collect();
        taken.extend(moved("upstream", &upstreams(old), &upstreams(new)));
        taken.extend(moved("registry", &registries(old), &registries(new)));
        Self { taken, fixed }
    }
}

fn named<T: Clone>(all: &[T], name: impl Fn(&T) -> &String) -> BTreeMap<String, T> {
    all.iter().map(|it| (name(it).clone(), it.clone())).collect()
}

/// What is new, gone, or another, among things with names.
fn moved<T: PartialEq>(kind: &str, old: &BTreeMap<String, T>, new: &BTreeMap<String, T>) -> Vec<String> {
    let mut names: Vec<_> = old.keys().chain(new.keys()).collect();
    names.sort();
    names.dedup();
    let change = |name: &String| {
        let how = match (old.get(name), new.get(name)) {
            (Some(old), Some(new)) if old == new => return None,
            (Some(_), Some(_)) => "",
            (None, _) => " (new)",
            (_, None) => " (gone)",
        };
        Some(format!("{kind} `{}`{how}", if name.is_empty() { "/" } else { name }))
    };
    names.into_iter().filter_map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::Options;

    #[track_caller]
    fn check(old: &str, new: &str, taken: &[&str], fixed: &[&str]) {
        let config = |text: &str| toml::from_str::<Options>(text).unwrap().config("/".into()).unwrap();
        let found = Changes::between(&config(old), &config(new));
        assert_eq!(found.taken, taken, "{old} -> {new}");
        assert_eq!(found.fixed, fixed, "{old} -> {new}");
    }

    #[test]
    fn each_setting_is_told_by_its_name() {
        check("offline = true", "offline = true", &[], &[]);
        check("", "drain-time = \"5s\"\nallow = [\"a.example\"]", &["allow", "drain-time"], &[]);
        check("", "listen = \"127.0.0.1:1\"\nmax-connections = 5", &[], &["listen", "max-connections"]);
        check(
            "[upstream]\na = \"http://a\"\nb = \"http://b\"\n\"/\" = \"http://c\"",
            "[upstream]\nb = \"http://other\"\nd = \"http://d\"\n\"/\" = \"http://c\"",
            &["upstream `a` (gone)", "upstream `b`", "upstream `d` (new)"],
            &[],
        );
        check("", "[registry]\n\"r.example\" = {}", &["registry `r.example` (new)"], &[]);
        let guesses = ["heuristic-freshness", "upstream `/`"];
        let mount = "[upstream]\n\"/\" = \"http://c\"";
        check(mount, &format!("heuristic-freshness = true\n{mount}"), &guesses, &[]);
    }

    /// A setting that is not compared would be taken over and not told.
    #[test]
    fn no_setting_is_forgotten() {
        let Config {
            listen: _,
            socket_mode: _,
            upstreams: _,
            registries: _,
            forward: crate::config::Forward { hosts: _, tunnels: _, opens_all: _ },
            intercept: _,
            allow_private: _,
            parent: _,
            offline: _,
            replays: _,
            heuristic_freshness: _,
            keep_cookies: _,
            ttl: _,
            stale_window: _,
            clients: crate::config::Clients { networks: _, token: _ },
            limits: _,
            access_log: _,
            keep_events: _,
            remote: _,
            guards: _,
        } = Config::default();
    }
}
