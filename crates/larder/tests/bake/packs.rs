//! Images that are packed without an engine.

use toolkit::Outcome;

use crate::project::{LOAD, Project};

const PACK_HASH: &str = "hashctx --manifest --ignore docker --input pack.platform=P d";
const PACK_TAR: &str = "hashctx -q --tar --key-file T/key --ignore docker --input pack.platform=P d";
const ENGINE: &str = "docker version --format {{.Server.Version}}";

#[test]
fn a_pack_needs_no_engine() {
    let pack =
        "imgtar pack KEY -q T/files.tar --platform P --name app:latest --image app --manifest T/manifest";
    let calls = [PACK_HASH, "imgtar has KEY -q", PACK_TAR, pack, ENGINE];
    Project::packed().bake().ended(Outcome::Yes, "built").saved(true).silent().called(&calls);
    let result = Project::packed().without("docker").tool("imgtar", "true").bake();
    result.ended(Outcome::Yes, "hit").silent().called(&[PACK_HASH, "imgtar has KEY -q"]);
}

#[test]
fn a_pack_is_loaded_where_an_engine_answers() {
    let result = Project::packed().tool("docker", "true").tool("imgtar", "true").bake();
    result.ended(Outcome::Yes, "hit").called(&[PACK_HASH, "imgtar has KEY -q", ENGINE, LOAD]);
}

#[test]
fn a_pack_that_the_store_does_not_take_goes_to_the_engine() {
    let imgtar = "case \"$*\" in *--store*) exit 0;; esac; exit 2";
    let result = Project::packed().tool("docker", "true").tool("imgtar", imgtar).bake();
    result.ended(Outcome::Yes, "built").saved(false).warned("not saved");
    assert_eq!(
        result.calls.last().expect("a call"),
        "imgtar load KEY --store T/store -q --json --engine docker --tag app:latest"
    );
}

#[test]
fn a_pack_without_store_and_engine_fails() {
    let result = Project::packed().tool("imgtar", "exit 2").bake();
    let error = result.ended(Outcome::Code(2), "failed").report[0]["error"].to_string();
    assert!(error.contains("no place"), "{error}");
}
