//! A first larder.toml for a project that never had one.

use larder_tests::{Part, Session, have};

#[test]
fn a_project_with_dockerfiles_gets_a_file_that_bakes() {
    if !have(&[Part::Docker]) {
        return;
    }
    let mut session = Session::new();
    let names = ["tests", "git-server", "work"].map(|name| session.image(name));
    session.write("docker/Dockerfile.tests", session.from("scratch") + "COPY pyproject.toml /\n");
    session.write("pyproject.toml", "x");
    session.write("services/git-server/Dockerfile", session.from("scratch") + "COPY server /\n");
    session.write("services/git-server/server", "x");
    session.write("Dockerfile", session.from("scratch") + "COPY pyproject.toml /two\n");
    session.write("ignored/Dockerfile", "FROM none\n");
    session.write(".gitignore", "ignored/\n");
    session.write("Dockerfile.dockerignore", "x\n");
    let said = session.run("larder init").ok().stdout();
    assert!(said.starts_with("wrote larder.toml with 3 images:\n  work: ./Dockerfile\n"), "{said}");
    let file = session.run("cat larder.toml").ok().stdout();
    let expected = "\n[image.work]\n\n[image.tests]\ndockerfile = \"docker/Dockerfile.tests\"\n\n\
                    [image.git-server]\ncontext = \"services/git-server\"\n";
    assert!(file.ends_with(expected), "{file}");
    let [tests, server, work] = names;
    let tags =
        format!("--set 'tests.tags={tests}' --set 'git-server.tags={server}' --set 'work.tags={work}'");
    session.run(&format!("larder bake {tags}")).ok();
    session.run("larder init").ends(2).says("`larder.toml` is there already");
}

#[test]
fn a_compose_file_is_taken_over() {
    let session = Session::new();
    session.write(
        "deploy/compose.yml",
        "x-build: &build\n  context: ../app\n  args:\n    V: \"1.10\"\n    TOKEN:\n\
         services:\n\
         \x20 web:\n    image: team/web\n    build:\n      <<: *build\n      dockerfile: Dockerfile.web\n      target: run\n\
         \x20     additional_contexts: [\"src=../lib\"]\n      shm_size: 1g\n\
         \x20 db:\n    image: postgres:16\n\
         \x20 Job_Runner:\n    build: ./job\n",
    );
    let said = session.run("larder init --from-compose deploy/compose.yml").ok().stdout();
    assert!(said.contains("left out: `build.shm_size`"), "{said}");
    // compose leaves it out where the environment has no such variable; `true` would refuse that.
    assert!(said.contains("left out: `args.TOKEN`"), "{said}");
    let file = session.run("cat larder.toml").ok().stdout();
    assert!(
        file.ends_with(
            "\n[image.web]\ncontext = \"app\"\ndockerfile = \"Dockerfile.web\"\ntarget = \"run\"\n\
             args = { V = \"1.10\" }\ncontexts = { src = \"../lib\" }\ntags = [\"team/web:latest\"]\n\
             \n[image.job-runner]\ncontext = \"deploy/job\"\n"
        ),
        "{file}"
    );
    session.run("larder list").ok();
}

#[test]
fn where_nothing_is_to_be_found_nothing_is_written() {
    let session = Session::new();
    session.run("larder init").ends(2).says("no Dockerfile was found");
    session.write("compose.yml", "services: {db: {image: x}}\n");
    session.run("larder init --from-compose compose.yml").ends(2).says("has no service with `build`");
    session.write("compose.yml", "services: [\n");
    session.run("larder init --from-compose compose.yml").ends(2).says("compose.yml is not understood");
    session.run("larder init --from-compose none.yml").ends(2).says("there is no `none.yml`");
    assert!(!session.path("larder.toml").exists());
}
