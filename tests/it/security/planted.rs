//! A configuration file that another user put where safe-migrate finds it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::Trap;
use crate::support::{Output, Project, Scene, TestCluster, Version};

/// Runs it as on a machine that is no container, where every user is the operator. None: we are not root, so there is
/// nobody else.
fn run_outside_a_container(
    scene: &Scene,
    directory: &Path,
    variables: &[(&str, &str)],
    arguments: &[&str],
) -> Option<Output> {
    if std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()) != 0 {
        eprintln!("only as root");
        return None;
    }
    let ours = scene.project.command(arguments);
    let hide = "for mark in /.dockerenv /run/.containerenv; do [ ! -e $mark ] || mount --bind /dev/null $mark; done; exec \"$@\"";
    let mut command = std::process::Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private", "--", "sh", "-c", hide, "sh"])
        .arg(ours.get_program())
        .args(arguments);
    command.env_clear().envs(ours.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.envs(variables.iter().copied()).current_dir(directory).stdin(std::process::Stdio::null());
    Some(Project::output_of(&mut command))
}

fn give(path: &Path, owner: &str) {
    let changed = std::process::Command::new("chown").args(["-R", owner]).arg(path).status().unwrap();
    assert!(changed.success());
}

#[test]
fn security_planted_configuration_is_not_read() {
    let scene = Scene::on(&TestCluster::shared(Version::V15));
    let trap = Trap::new();
    // A directory for all, in which mallory (nobody) makes a repository with a configuration file.
    let shared = tempfile::Builder::new().prefix("test-shared-").tempdir().unwrap();
    std::fs::set_permissions(shared.path(), PermissionsExt::from_mode(0o1777)).unwrap();
    let file = shared.path().join("safe-migrate.toml");
    std::fs::create_dir(shared.path().join(".git")).unwrap();
    let toml = format!(
        "[database]\nurl = \"{}\"\npassword_command = [\"touch\", \"{}\"]\n",
        scene.database.url().replace(scene.cluster().password(), "").replace(":@", "@"),
        trap.file().display()
    );
    std::fs::write(&file, &toml).unwrap();
    give(&file, "nobody");
    let deep = shared.path().join("a/b");
    std::fs::create_dir_all(&deep).unwrap();
    let run =
        |variables: &[(&str, &str)], arguments: &[&str]| run_outside_a_container(&scene, &deep, variables, arguments);

    let Some(refused) = run(&[], &["status"]) else { return };
    trap.is_empty();
    assert_eq!(refused.status, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("belongs to uid") && refused.stderr.contains("--config "), "{}", refused.stderr);
    assert!(refused.stderr.contains("safe-migrate trust "), "{}", refused.stderr);

    // The controls, and the ways that go on working: the operator's word, and each owner that is the operator.
    let path = file.to_str().unwrap();
    run(&[], &["status", "--config", path]);
    trap.was_sprung();
    run(&[("SAFE_MIGRATE_CONFIG", path)], &["status"]);
    trap.was_sprung();
    let trusted = run(&[], &["trust", shared.path().to_str().unwrap()]).unwrap();
    assert_eq!(trusted.status, 0, "{}", trusted.stderr);
    run(&[], &["status"]);
    trap.was_sprung();
    run(&[], &["trust", "--remove", shared.path().to_str().unwrap()]);
    assert_eq!(run(&[], &["status"]).unwrap().status, 2);
    trap.is_empty();
    let uid = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&file).unwrap()).to_string();
    run(&[("SUDO_UID", &uid)], &["status"]);
    trap.was_sprung();
    // With umask 000 all is everybody's to change; a volume's root has the mode 777.
    give(&file, "root");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o666)).unwrap();
    std::fs::set_permissions(shared.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let open = run(&[], &["status"]).unwrap();
    trap.was_sprung();
    assert!(open.stderr.contains("every user of this machine can change"), "{}", open.stderr);
    // A link of mallory's to a file of root's is mallory's.
    let link = deep.join("safe-migrate.toml");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    std::os::unix::fs::lchown(&link, Some(uid.parse().unwrap()), None).unwrap();
    assert_eq!(run(&[], &["status"]).unwrap().status, 2);
    trap.is_empty();
}
