//! What an image gets from elsewhere than its own table.

use crate::config::image::{Context, Handed, Secret};
use crate::config::layers::Layers;
use crate::config::*;
use crate::process::command::Cmd;

/// Reads files, the lowest first, with what is given above them.
fn read(files: &[&str], set: &[&str], build_args: &[&str]) -> Result<Project, Fault> {
    let mut layers = Layers::default();
    for text in files {
        layers.add(FILE, text);
    }
    let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let variables = |name: &str| (name == "SHA").then(|| "c0ffee".to_owned());
    let (set, build_args) = (own(set), own(build_args));
    command_line::add(&mut layers, &Given { set: &set, build_args: &build_args, variables: &variables })?;
    project(&layers, &variables, None, None)
}

fn images(text: &str) -> Vec<Image> {
    read(&[text], &[], &[]).unwrap_or_else(|fault| panic!("{fault:?}")).images
}

#[track_caller]
fn refused(text: &str, message: &str, marked: &str) {
    let fault = read(&[text], &[], &[]).expect_err("a bad file");
    assert!(fault.message.contains(message), "message is `{}`", fault.message);
    let at = fault.at.expect("a place");
    assert!(text[at.clone()].contains(marked), "marked is `{}`", &text[at]);
}

fn args(image: &Image) -> String {
    let build = image.as_build().expect("a build");
    build.args.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

#[test]
fn defaults_count_where_an_image_says_nothing_else() {
    let images = images(
        "[defaults]\nnetwork = \"host\"\nargs = { A = \"1\", B = \"1\" }\nrefresh = \"30d\"\ntags = [\"team/{image}:dev\"]\n\
         [image.one]\nargs = { B = \"2\" }\n[image.two]\nnetwork = \"none\"\nrefresh = \"never\"\n\
         [image.three]\npack = { dir = \"d\" }\n[disk.d]\ninputs = [\"x\"]\nrun = \"y\"\noutput = \"z\"\n",
    );
    let network = |at: usize| images[at].as_build().expect("a build").network.clone();
    assert_eq!([network(0), network(1)], [Some("host".into()), Some("none".into())]);
    assert_eq!(args(&images[0]), "A=1 B=2");
    assert_eq!(images[0].tags, ["team/one:dev"]);
    assert!(images[0].refresh.is_some() && images[1].refresh.is_none());
    assert!(images[2].is_packed());
}

#[test]
fn defaults_that_are_one_images_own_or_wrong_are_refused() {
    refused("[defaults]\npack = { dir = \"d\" }\n", "`pack` cannot be a default", "pack");
    refused("[defaults]\nmatrix = { A = [1] }\n[image.a]\n", "`matrix` cannot be a default", "matrix");
    refused("[defaults]\nnetwrk = \"host\"\n", "unknown field `netwrk`", "netwrk");
}

#[test]
fn an_image_extends_others_and_tables_of_the_users() {
    let images = images(
        "[x-common]\nargs = { A = \"x\" }\n[image.base]\nextends = \"x-common\"\ntarget = \"base\"\ntags = [\"b:1\"]\n\
         [image.app]\nextends = [\"base\"]\nargs = { B = 2 }\n",
    );
    let app = &images[1];
    assert_eq!(
        (app.name.as_str(), args(app).as_str(), app.tags[0].as_str()),
        ("app", "A=x B=2", "app:latest")
    );
    assert_eq!(app.as_build().expect("a build").target.as_deref(), Some("base"));
    refused(
        "[image.a]\nextends = \"b\"\n[image.b]\nextends = \"a\"\n",
        "`a` extends `b` extends `a`",
        "\"a\"",
    );
    refused("[image.app]\n[image.b]\nextends = \"apq\"\n", "no image `apq` to extend", "apq");
}

#[test]
fn a_matrix_is_an_image_for_each_combination() {
    let images = images(
        "[image.w]\nmatrix = { PY = [\"3.9\", 3.10], OS = [\"deb:12\"] }\ntags = [\"w:{PY}\"]\n\
         outputs = { \"dist/{PY}\" = \"/b/*-{PY}.whl\" }\nargs = { X = \"{PY}-{OS}\" }\n\
         [image.all]\nneeds = [\"w\"]\n",
    );
    let names: Vec<_> = images.iter().map(|image| (image.name.as_str(), image.group.as_str())).collect();
    assert_eq!(names, [("w-3.9-deb-12", "w"), ("w-3.10-deb-12", "w"), ("all", "all")]);
    assert_eq!(args(&images[1]), "OS=deb:12 PY=3.10 X=3.10-deb:12");
    assert_eq!((images[1].tags[0].as_str(), images[1].outputs[0].to.as_str()), ("w:3.10", "dist/3.10"));
    assert_eq!(images[1].outputs[0].from, ["/b/*-3.10.whl"]);
    assert_eq!(images[2].needs, ["w-3.9-deb-12", "w-3.10-deb-12"]);
}

#[test]
fn a_matrix_that_makes_no_sense_is_refused() {
    let many = (0..100).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    let text = format!("[image.w]\nmatrix = {{ A = [{many}], B = [{many}] }}\n");
    refused(&text, "makes 10000 images", "matrix");
    refused("[image.w]\nmatrix = { A = [] }\n", "`matrix.A` is empty", "[]");
    refused("[image.w]\nmatrix = { A = [1, 1] }\n", "`1` stands twice in `matrix.A`", "1");
    refused("[image.w]\nmatrix = { A = 1 }\n", "is not a list", "1");
    refused("[image.w]\nmatrix = { A = [1, 2] }\ntags = [\"w:1\"]\n", "have one name", "w:1");
    refused(
        "[image.w]\nmatrix = { A = [1] }\ntags = [\"w:{B}\"]\n",
        "`w:{B}` is not a valid image name",
        "w:{B}",
    );
    refused(
        "[image.w]\nmatrix = { A = [\"a/b\", \"a:b\"] }\ntags = [\"{image}:1\"]\n",
        "two images are called `w-a-b`",
        "w",
    );
}

#[test]
fn args_come_from_the_environment_and_numbers_are_read_as_text() {
    let images = images(
        "[image.a]\nargs = { SHA = true, N = 3.10, Y = false, S = \"v-${SHA}\", D = \"${NONE:-d}\", E = \"$${SHA}\" }\n\
         labels = { commit = \"${SHA}\" }\ntags = [\"a:${SHA}\"]\n",
    );
    assert_eq!(args(&images[0]), "D=d E=${SHA} N=3.10 S=v-c0ffee SHA=c0ffee Y=false");
    assert_eq!(images[0].as_build().expect("a build").labels["commit"], "c0ffee");
    assert_eq!(images[0].tags, ["a:c0ffee"]);
    refused("[image.a]\nargs = { NONE = true }\n", "variable `NONE` is not set", "true");
    refused("[image.a]\nargs = { X = \"${NONE}\" }\n", "variable `NONE` is not set", "${NONE}");
}

#[test]
fn a_local_file_and_the_command_line_go_above() {
    let read = |set: &[&str], build_args: &[&str]| {
        let main = "[image.a]\nargs = { A = \"1\" }\n[image.b-2]\n[image.p]\npack = { dir = \"d\" }\n";
        read(&[main, "[image.a]\ntarget = \"mine\"\n"], set, build_args)
    };
    let images =
        read(&["a.args.A=x=y", "b-*.network=host"], &["SHA", "NONE", "V=${2}"]).expect("good").images;
    assert_eq!(images[0].as_build().expect("a build").target.as_deref(), Some("mine"));
    assert_eq!([args(&images[0]), args(&images[1])], ["A=x=y SHA=c0ffee V=${2}", "SHA=c0ffee V=${2}"]);
    assert_eq!(images[1].as_build().expect("a build").network.as_deref(), Some("host"));
    let why = |set: &str| {
        let fault = read(&[set], &[]).expect_err("refused");
        format!("{}; {}", fault.message, fault.help)
    };
    assert!(why("c.target=x").starts_with("no image or disk is called `c`; "), "{}", why("c.target=x"));
    assert!(why("a.colour=x").contains("sets no key of an image"));
    assert!(why("a.matrix={A=[1]}").contains("`matrix` cannot be set"));
}

#[test]
fn a_secret_that_is_said_anew_comes_from_there_alone() {
    let main = "[image.a]\nsecrets = { tok = { env = \"TOK\" }, other = { env = \"OTHER\" } }\n";
    let images =
        read(&[main, "[image.a.secrets]\ntok = { file = \"tok\" }\n"], &[], &[]).expect("good").images;
    let secrets = &images[0].as_build().expect("a build").secrets;
    assert_eq!(secrets["tok"], Secret::File("tok".into()));
    assert_eq!(secrets["other"], Secret::Variable("OTHER".into()));
}

#[test]
fn a_fault_is_shown_in_its_own_file() {
    let mut layers = Layers::default();
    layers.add("larder.toml", "[image.a]\n");
    layers.add("larder.local.toml", "[image.a]\ntarge = \"x\"\n");
    let fault = project(&layers, &|_| None, None, None).expect_err("a bad file");
    let text = format!("{:?}", miette::Report::new(layers.explain("is not understood", fault)));
    assert!(text.contains("larder.local.toml is not understood: unknown field `targe`"), "{text}");
    assert!(text.contains("[larder.local.toml:2:1]"), "{text}");
}

#[test]
fn contexts_secrets_and_keys_are_handed_to_the_build() {
    let images = images(
        "[image.up]\ntags = [\"up:1\"]\n[image.a]\ncontexts = { src = \"../lib\", up = \"image:up\" }\n\
         secrets = { hf = { env = \"HF\" }, rc = { file = \"rc\" } }\nssh = true\nlabels = { v = \"1\" }\n\
         network = \"host\"\nengine-cache = { from = [\"r.example/a:cache\"] }\ntimeout = \"30m\"\n",
    );
    let build = images[1].as_build().expect("a build");
    assert_eq!(build.contexts["up"], Context::Image { name: "up".into(), tag: "up:1".into() });
    assert_eq!(build.secrets["hf"], Secret::Variable("HF".into()));
    let line = images[1].build(Cmd::new("docker"), Handed::Folder).to_string();
    assert!(
        line.contains(
            "--label v=1 --build-context src=../lib --build-context up=docker-image://up:1 --secret id=hf,env=HF \
             --secret id=rc,src=rc --ssh default --network host --cache-from r.example/a:cache ."
        ),
        "{line}"
    );
    refused("[image.a]\ncontexts = { x = \"image:b\" }\n", "there is no image `b`", "image:b");
    refused("[image.a]\ncontexts = { x = \"image:a\" }\n", "needs itself", "image:a");
    refused("[image.a]\nsecrets = { x = { env = \"A\", file = \"b\" } }\n", "comes from one place", "env");
    refused("[image.a]\nsecrets = { \"x,y\" = { env = \"A\" } }\n", "name of a secret", "x,y");
    refused("[image.a]\nneeds = [\"b\"]\n", "there is no image or disk `b`", "b");
}

#[test]
fn a_file_for_another_larder_is_refused_first() {
    refused("[larder]\nversion = \"9.0\"\n[imag.x]\n", "the file is for `9.0`", "9.0");
    refused("[larder]\nversion = \"soon\"\n", "`version` is not a version", "soon");
    refused("[larder]\nversion = \"x\"\n", "`version` is not a version", "x");
    images("[larder]\nversion = \"0.0.1\"\n[image.a]\n");
    images("[larder]\nversion = \">=0.1, <0.9\"\n[image.a]\n");
}

#[test]
fn steps_are_read_in_either_form() {
    let text = "[image.w]\n[ci]\nlog = \"target/ci\"\n[[ci.step]]\nname = \"build\"\nbake = [\"w\"]\n\
                [[ci.step]]\nname = \"t\"\nimage = \"w\"\nwhen = \"manual\"\nrun = \"x\"\ninputs = [\"dist/*.whl\"]\nenv = [\"T\"]\n";
    let project = read(&[text], &[], &[]).expect("good");
    let names: Vec<_> = project.steps.iter().map(|step| (step.name.as_str(), step.is_manual)).collect();
    assert_eq!((names, project.ci_log), (vec![("build", false), ("t", true)], Some("target/ci".into())));
    refused("[image.w]\n[[ci.step]]\nname = \"a\"\nbake = [\"v\"]\n", "there is no image or disk `v`", "v");
    refused("[[ci.step]]\nname = \"a\"\n", "step `a` does nothing", "ci.step");
    refused(
        "[[ci.step]]\nname = \"a\"\nrun = \"x\"\ninputs = [\"/etc\"]\n",
        "leads out of the project",
        "/etc",
    );
    refused("[[ci.step]]\nname = \"total\"\nrun = \"x\"\n", "cannot be the name of a step", "ci.step");
    refused("[ci]\nlog = \"../x\"\n", "leads out of the project", "../x");
    refused("[image.a]\ntimeout = \"0s\"\n", "`timeout` is 0", "0s");
    refused("[image.a]\nargs = { A = \"x\\u0000\" }\n", "`args.A` has a NUL", "x");
    refused(
        "[ci]\nsteps = [{ name = \"a\", run = \"x\" }, { name = \"a\", run = \"y\" }]\n",
        "two steps",
        "\"a\"",
    );
}

#[test]
fn words_for_the_engine_are_words() {
    let image = |key: &str| format!("[image.a]\n{key}\n");
    refused(&image("network = \"\""), "`network` is empty", "\"\"");
    refused(&image("network = \"my net\""), "`network` is not one word", "\"my net\"");
    refused(&image("network = \"--privileged\""), "`network` begins like a flag", "\"--privileged\"");
    refused(&image("ssh = [\"\"]"), "an id of `ssh` is empty", "[\"\"]");
    refused(&image("ssh = [\"a b=key\"]"), "an id of `ssh` is not one word", "[\"a b=key\"]");
    super::parse(&image("ssh = [\"default\", \"id=a key\"]")).expect("good");
}

#[test]
fn the_values_of_variables_are_inputs_and_not_shown() {
    let text = "[defaults]\ninputs-env = [\"TOKEN\"]\n[image.a]\n[image.b]\npack = { dir = \"b\" }\n";
    let inputs = |token: Option<&str>| -> Vec<String> {
        let mut layers = Layers::default();
        layers.add(FILE, text);
        let variables = |name: &str| token.filter(|_| name == "TOKEN").map(str::to_owned);
        let images = project(&layers, &variables, None, None).expect("a good file").images;
        images.iter().map(super::image::plainly).collect()
    };
    let [one, two, none] = [Some("hunter2"), Some("two"), None].map(inputs);
    for at in 0..2 {
        assert!(one[at].contains("--input env.TOKEN=b3:") && !one[at].contains("hunter2"), "{}", one[at]);
        assert_ne!(one[at], two[at]);
        assert!(none[at].contains("--input env.TOKEN=unset"), "{}", none[at]);
    }
    refused("[image.a]\ninputs-env = [\"A=b\"]\n", "`A=b` cannot be the name of a variable", "A=b");
}
