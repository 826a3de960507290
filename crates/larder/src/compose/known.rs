//! The fields that compose knows: any other is left as it is, and said once.

use super::yaml::{Map, Node};
use toolkit::nearest::nearest;

const FILE: [&str; 9] =
    ["configs", "include", "models", "name", "networks", "secrets", "services", "version", "volumes"];

const SERVICE: [&str; 93] = [
    "annotations",
    "attach",
    "blkio_config",
    "build",
    "cap_add",
    "cap_drop",
    "cgroup",
    "cgroup_parent",
    "command",
    "configs",
    "container_name",
    "cpu_count",
    "cpu_percent",
    "cpu_period",
    "cpu_quota",
    "cpu_rt_period",
    "cpu_rt_runtime",
    "cpu_shares",
    "cpus",
    "cpuset",
    "credential_spec",
    "depends_on",
    "deploy",
    "develop",
    "device_cgroup_rules",
    "devices",
    "dns",
    "dns_opt",
    "dns_search",
    "domainname",
    "entrypoint",
    "env_file",
    "environment",
    "expose",
    "extends",
    "external_links",
    "extra_hosts",
    "gpus",
    "group_add",
    "healthcheck",
    "hostname",
    "image",
    "init",
    "ipc",
    "isolation",
    "label_file",
    "labels",
    "links",
    "logging",
    "mac_address",
    "mem_limit",
    "mem_reservation",
    "mem_swappiness",
    "memswap_limit",
    "models",
    "network_mode",
    "networks",
    "oom_kill_disable",
    "oom_score_adj",
    "pid",
    "pids_limit",
    "platform",
    "ports",
    "post_start",
    "pre_start",
    "pre_stop",
    "privileged",
    "profiles",
    "provider",
    "pull_policy",
    "pull_refresh_after",
    "read_only",
    "restart",
    "runtime",
    "scale",
    "secrets",
    "security_opt",
    "shm_size",
    "stdin_open",
    "stop_grace_period",
    "stop_signal",
    "storage_opt",
    "sysctls",
    "tmpfs",
    "tty",
    "ulimits",
    "use_api_socket",
    "user",
    "userns_mode",
    "uts",
    "volumes",
    "volumes_from",
    "working_dir",
];

const BUILD: [&str; 25] = [
    "additional_contexts",
    "args",
    "cache_from",
    "cache_to",
    "context",
    "dockerfile",
    "dockerfile_inline",
    "entitlements",
    "extra_hosts",
    "isolation",
    "labels",
    "network",
    "no_cache",
    "no_cache_filter",
    "platforms",
    "privileged",
    "provenance",
    "pull",
    "sbom",
    "secrets",
    "shm_size",
    "ssh",
    "tags",
    "target",
    "ulimits",
];

/// The fields of a file that compose does not know, each with the one that may be meant.
pub(super) fn unknown(file: &Map) -> Vec<String> {
    let mut found = of(file, &FILE, "");
    let services = file.get("services").and_then(Node::as_map);
    for (name, service) in services.into_iter().flat_map(Map::iter) {
        let Some(service) = service.as_map() else { continue };
        let path = format!("services.{}.", name.name);
        found.extend(of(service, &SERVICE, &path));
        if let Some(build) = service.get("build").and_then(Node::as_map) {
            found.extend(of(build, &BUILD, &format!("{path}build.")));
        }
    }
    found
}

fn of(map: &Map, known: &[&'static str], path: &str) -> Vec<String> {
    let is_unknown = |name: &&str| !known.contains(name) && !name.starts_with("x-");
    let in_words = |name: &str| match nearest(name, known.iter().copied()) {
        Some(meant) => format!("`{path}{name}` (is `{meant}` meant?)"),
        None => format!("`{path}{name}`"),
    };
    map.names().filter(is_unknown).map(in_words).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::yaml::read;

    #[test]
    fn what_compose_does_not_know_is_named_with_the_nearest() {
        let text = "x-own: 1\nservice: 1\nservices:\n  web:\n    x-own: 1\n    biuld: .\n    working_dir: /\n    build: {contxt: ., x-own: 1, odd: 2}\n";
        let file = read(text, 0).expect("YAML").remove(0);
        assert_eq!(
            unknown(file.as_map().expect("a mapping")),
            [
                "`service` (is `services` meant?)",
                "`services.web.biuld` (is `build` meant?)",
                "`services.web.build.contxt` (is `context` meant?)",
                "`services.web.build.odd`"
            ]
        );
    }

    #[test]
    fn lists_are_sorted() {
        assert!(FILE.is_sorted() && SERVICE.is_sorted() && BUILD.is_sorted());
    }
}
