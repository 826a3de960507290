//! `report`, as a file and on stdout.

use std::fs;

use crate::scratch::Scratch;

#[test]
fn a_page_is_written_whole_and_its_areas_add_up_to_df() {
    let scratch = Scratch::new();
    scratch.three().store_packages(&["npm one 1 a", "apt two 2 b"]).run("run --max-images 2").ends(0);
    let outside = scratch.session.path("report.html");
    scratch.run(&format!("report -o {outside} --max-images 1")).ends(0).says("wrote ");
    let page = fs::read_to_string(&outside).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"), "{page}");
    assert!(page.contains("over 1 image"), "{page}");
    let bytes = page
        .split("data-bytes=\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap().parse::<u64>().unwrap());
    assert_eq!(Some(bytes.sum::<u64>()), scratch.json("df --json")["total"].as_u64().map(|total| 2 * total));
    let same = scratch.run("report --max-images 1").ends(0).stdout();
    assert_eq!(same.lines().count(), page.lines().count());
    scratch.run("report -o nowhere/report.html").ends(2).says("nowhere");
}
