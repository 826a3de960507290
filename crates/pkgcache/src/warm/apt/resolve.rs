//! Packages, and all that they depend on.

use std::collections::BTreeSet;

use super::packages::{Package, Relation, Universe};
use crate::locked::Locked;

/// The packages that a list needs, in the order of their names, and what cannot be had, with the
/// package that asks for it.
pub(super) fn closure<'u>(
    universe: &'u Universe,
    wanted: &[Locked],
    recommends: bool,
) -> (Vec<&'u Package>, Vec<(String, String)>) {
    let (mut chosen, mut open, mut problems) = (BTreeSet::new(), Vec::new(), Vec::new());
    for locked in wanted {
        let name = locked.name.split(':').next().unwrap_or_default();
        match universe.find(&Relation::exactly(name, &locked.version)) {
            Some(place) => open.push(place),
            None => problems.push((locked.label(), "no mounted suite has it".to_owned())),
        }
    }
    while let Some(place) = open.pop() {
        let Some(package) = universe.package(place) else { continue };
        if !chosen.insert(place) {
            continue;
        }
        for clause in &package.depends {
            if clause.iter().any(|relation| chosen.iter().any(|place| universe.meets(*place, relation))) {
                continue;
            }
            match clause.iter().find_map(|relation| universe.find(relation)) {
                Some(place) => open.push(place),
                None => problems.push((
                    format!("{} {}", package.name, package.version),
                    format!("what it depends on is in no mounted suite: {}", names(clause)),
                )),
            }
        }
        if recommends {
            open.extend(
                package
                    .recommends
                    .iter()
                    .filter_map(|clause| clause.iter().find_map(|relation| universe.find(relation))),
            );
        }
    }
    let mut packages: Vec<_> = chosen.into_iter().filter_map(|place| universe.package(place)).collect();
    packages.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    (packages, problems)
}

fn names(clause: &[Relation]) -> String {
    clause.iter().map(|it| it.name.as_str()).collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ecosystem::apt::Packing;

    fn universe(list: &str) -> Universe {
        let mut universe = Universe::default();
        universe.read(Packing::Plain, list.as_bytes(), |file| format!("/debian/{file}")).unwrap();
        universe
    }

    fn stanza(name: &str, version: &str, more: &str) -> String {
        format!(
            "Package: {name}\nVersion: {version}\nDescription: x\n Depends: no\n{more}Filename: pool/{name}_{version}.deb\n\n"
        )
    }

    fn brought(list: &str, wanted: &[(&str, &str)], recommends: bool) -> (Vec<String>, Vec<String>) {
        let wanted: Vec<_> = wanted
            .iter()
            .map(|(name, version)| Locked {
                name: (*name).into(),
                version: (*version).into(),
                ..Locked::default()
            })
            .collect();
        let universe = universe(list);
        let (packages, problems) = closure(&universe, &wanted, recommends);
        let problems = problems.into_iter().map(|(label, problem)| format!("{label}: {problem}")).collect();
        (packages.into_iter().map(|it| format!("{} {}", it.name, it.version)).collect(), problems)
    }

    #[test]
    fn what_a_package_depends_on_comes_with_it() {
        let list = stanza("app", "1", "Depends: lib (>= 2), mta | postfix\nRecommends: docs\n")
            + &stanza("lib", "1", "")
            + &stanza("lib", "2", "Pre-Depends: libc:any (>= 2.36)\n")
            + &stanza("lib", "10", "Depends: libc\n")
            + &stanza("libc", "2.36-9", "Depends: lib\n")
            + &stanza("exim", "4", "Provides: mta\n")
            + &stanza("docs", "1", "");
        let (packages, problems) = brought(&list, &[("app", "")], false);
        assert_eq!(
            (packages, problems),
            (vec!["app 1".into(), "exim 4".into(), "lib 10".into(), "libc 2.36-9".into()], vec![])
        );
        assert!(brought(&list, &[("app", "")], true).0.contains(&"docs 1".to_owned()));
        assert_eq!(brought(&list, &[("lib", "1")], false).0, ["lib 1"]);
    }

    #[test]
    fn what_no_list_has_is_told() {
        let list = stanza("app", "1", "Depends: gone (>= 2) | lost\n")
            + &stanza("virtual", "1", "Provides: gone (= 1)\n");
        let (_, problems) = brought(&list, &[("app", ""), ("none", "3"), ("app", "2")], false);
        assert_eq!(
            problems,
            [
                "none 3: no mounted suite has it",
                "app 2: no mounted suite has it",
                "app 1: what it depends on is in no mounted suite: gone or lost",
            ]
        );
    }
}
