//! Which branch or tag a checkout is of, with git as it is on CIs: shallow, detached, not there.

use larder_tests::Session;

const FILE: &str = "[tier.team]\nstore = \"../tier\"\n\
    [profile.dev]\nwhen = { branch = \"main\" }\ntrust = 1\nread = [\"team\"]\nwrite = [\"team\"]\ntags = [\"r.example/{image}:{branch}\"]\n\
    [profile.release]\nwhen = { tag = \"v*\" }\ntrust = 2\n\
    tags = [\"r.example/{image}:{version}\", { name = \"r.example/{image}:{minor}\", move = \"forward\" }]\n";

/// A repository with three commits on `main`, of which the second is `v1.0.0`, beside the working
/// folder.
fn repository() -> Session {
    let session = Session::new();
    session.write("../origin/src/file", "1\n");
    let image = format!("[image.app]\npack = {{ dir = \"src\", {} }}\n", session.labels());
    session.write("../origin/larder.toml", format!("{FILE}{image}"));
    let git = "git -c user.name=a -c user.email=a@b.example";
    let commit = |word: &str| format!("echo {word} >src/file && git add . && {git} commit -qm {word}");
    let line = format!(
        "cd ../origin && git init -q -b main && {} && {} && {git} tag -a v1.0.0 -m one && {}",
        commit("one"),
        commit("two"),
        commit("three")
    );
    session.run(&line).ok();
    session
}

/// The names that images of a clone get, and what is said.
#[track_caller]
fn tags(session: &Session, clone: &str) -> (Vec<String>, String) {
    session.run(&format!("rm -rf ../clone && {clone}")).ok();
    let ran = session.run("cd ../clone && larder tags --json").ok();
    let names = ran.rows().iter().map(|row| row["name"].as_str().unwrap_or_default().to_owned()).collect();
    (names, ran.stderr())
}

#[test]
fn a_shallow_clone_is_of_its_branch_or_tag() {
    let session = repository();
    let shallow = "git clone -q --depth 1 file://$PWD/../origin ../clone";
    assert_eq!(tags(&session, shallow), (vec!["r.example/app:main".to_owned()], String::new()));
    // The tag's own commit is all that is there.
    let of_tag =
        "git -c advice.detachedHead=false clone -q --depth 1 --branch v1.0.0 file://$PWD/../origin ../clone";
    session.run(&format!("rm -rf ../clone && {of_tag}")).ok();
    let said = session.run("cd ../clone && larder bake --list -v && larder bake --check -v").ends(1).stderr();
    assert!(said.contains("# the profile of this build: release"), "{said}");
}

#[test]
fn a_detached_checkout_is_of_a_tag_or_of_nothing() {
    let session = repository();
    let at =
        |commit: &str| format!("git clone -q ../origin ../clone && git -C ../clone checkout -q {commit}");
    let why = "no profile of larder.toml is for this build (`--profile` names one): git is at a commit of no branch and no tag";
    for commit in ["HEAD~2", "--detach"] {
        let (names, said) = tags(&session, &at(commit));
        assert!(names.is_empty() && said.contains(&format!("note: {why}\n")), "{names:?} {said}");
    }
    let said = session.run("cd ../clone && larder bake --to-tiers").ok().stderr();
    assert!(said.contains("so no tier is written: git is at a commit of no branch and no tag"), "{said}");
    // What a CI's own checkout leaves: one commit, its tags not fetched.
    let fetched = "git init -q ../clone && cd ../clone && git fetch -q --no-tags --depth 1 file://$PWD/../origin refs/tags/v1.0.0 \
                   && git checkout -q FETCH_HEAD";
    let (names, said) = tags(&session, fetched);
    assert!(
        names.is_empty() && said.contains("the clone is shallow, and may lack its tags"),
        "{names:?} {said}"
    );
    session.run("cd ../clone && git fetch -q --depth 1 --tags file://$PWD/../origin").ok();
    let said = session.run("cd ../clone && larder bake --check -v").ends(1).stderr();
    assert!(said.contains("# the profile of this build: release"), "{said}");
}

#[test]
fn without_git_nothing_is_known_and_that_is_said() {
    let session = repository();
    session.run("mkdir ../clone && cp -r ../origin/larder.toml ../origin/src ../clone").ok();
    let plain =
        session.run("cd ../clone && GIT_CEILING_DIRECTORIES=$PWD/.. larder bake --check").ends(1).stderr();
    assert!(
        plain.contains("note: no profile") && plain.contains("the folder is in no git repository"),
        "{plain}"
    );
    // Also where it is there, and says nothing.
    session.script(
        "../broken/git",
        "echo \"fatal: detected dubious ownership in repository at '/x'\" >&2; exit 128",
    );
    let broken = session.run("cd ../origin && PATH=../broken:$PATH larder bake --check").ends(1).stderr();
    assert!(
        broken.contains("warning: no profile") && broken.contains("git says: detected dubious ownership"),
        "{broken}"
    );
    session.script("../broken/git", "exit 127");
    let missing = session.run("cd ../origin && PATH=../broken:$PATH larder bake -q --check").ends(1).stderr();
    assert!(missing.contains("warning: no profile") && missing.contains("git cannot be run"), "{missing}");
    // A profile that is named, or the one for all others.
    let named = session.run("cd ../clone && larder bake --check -v --profile dev").ends(1).stderr();
    assert!(named.contains("# the profile of this build: dev") && !named.contains("no profile"), "{named}");
    session.run("echo '[profile.else]' >>../origin/larder.toml").ok();
    let other = session.run("cd ../origin && PATH=../broken:$PATH larder bake --check").ends(1).stderr();
    assert!(
        other.contains("warning: this counts as a build of the profile `else`: git cannot be run"),
        "{other}"
    );
}

#[test]
fn limits_by_branches_need_their_history() {
    let session = repository();
    session.run("git clone -q --depth 1 file://$PWD/../origin ../clone && mkdir ../tier").ok();
    session
        .run("cd ../clone && printf '[gcctl.team]\\nkeep-refs = 3\\n' >>larder.toml && imgtar init ../tier")
        .ok();
    let refused = session.run("cd ../clone && larder tier collect team --profile dev").ends(2).stderr();
    assert!(refused.contains("git fetch --unshallow"), "{refused}");
}
