use proptest::collection::vec;
use proptest::prelude::ProptestConfig;
use proptest::prop_assert;
use proptest::test_runner::TestRunner;
use serde_json::json;

use super::FILE;
use crate::db::{Controllers, Db, From, Patch, Storage};
use crate::object::Object;
use crate::registry::StorageKey;
use crate::store::Removed;
use crate::testing::{World, config_map, drain, options};

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart_and_watches_resume() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::on_disk(dir.path()).await;
    world
        .create("configmaps", config_map("a", json!({"k": "1"})))
        .await
        .unwrap();
    let seen = world.db.resource_version();
    world
        .create("configmaps", config_map("b", json!({})))
        .await
        .unwrap();
    let patch = Patch::Merge(json!({"data": {"k": "2"}}));
    world.patch("configmaps", "a", patch).await.unwrap();
    world.delete("configmaps", "b").await.unwrap();
    let before = (world.list("configmaps"), world.db.resource_version());
    world.db.close().await;

    let world = World::on_disk(dir.path()).await;
    assert_eq!(
        (world.list("configmaps"), world.db.resource_version()),
        before
    );
    let mut watch = world.watch("configmaps", From::Version(seen), "").unwrap();
    assert_eq!(drain(&mut watch), ["ADDED b", "MODIFIED a", "DELETED b"]);
    let made = world
        .create("configmaps", config_map("c", json!({})))
        .await
        .unwrap();
    assert_eq!(
        crate::testing::version(&made),
        before.1 + 1,
        "versions go on"
    );
}

#[tokio::test]
async fn the_history_on_disk_is_bounded_and_states_do_not_pile_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut short = options();
    short.history_events = 8;
    let storage = || Storage::Dir(dir.path().to_owned());
    let world = World {
        db: Db::open(storage(), short.clone()).await.unwrap(),
    };
    world
        .create("configmaps", config_map("a", json!({})))
        .await
        .unwrap();
    let old = world.db.resource_version();
    for number in 0..20 {
        let patch = Patch::Merge(json!({"data": {"k": number.to_string()}}));
        world.patch("configmaps", "a", patch).await.unwrap();
    }
    world.delete("configmaps", "a").await.unwrap();
    let newest = world.db.resource_version();
    world.db.close().await;
    let world = World {
        db: Db::open(storage(), short).await.unwrap(),
    };
    assert_eq!(
        world
            .watch("configmaps", From::Version(old), "")
            .unwrap_err()
            .code,
        410
    );
    let mut watch = world
        .watch("configmaps", From::Version(newest - 3), "")
        .unwrap();
    assert_eq!(drain(&mut watch), ["MODIFIED a", "MODIFIED a", "DELETED a"]);
    assert!(world.names("configmaps").is_empty());
}

#[tokio::test]
async fn file_is_written_anew_beside_the_writes_and_says_the_same() {
    const STATE: usize = 256 * 1024;
    let dir = tempfile::tempdir().unwrap();
    let mut short = options();
    short.history_events = 4;
    let open = || Db::open(Storage::Dir(dir.path().to_owned()), short.clone());
    let state = |number: i32| format!("{number} {}", "x".repeat(STATE));
    let mut number = 0;
    for round in 0..3 {
        let world = World {
            db: open().await.unwrap(),
        };
        let made = config_map(&format!("m{round}"), json!({"k": "small"}));
        world.create("configmaps", made).await.unwrap();
        if round == 0 {
            let made = config_map("large", json!({}));
            world.create("configmaps", made).await.unwrap();
        }
        for _ in 0..50 {
            number += 1;
            let patch = Patch::Merge(json!({"data": {"k": state(number)}}));
            world.patch("configmaps", "large", patch).await.unwrap();
        }
        let newest = world.db.resource_version();
        world.db.close().await;

        // What is needed: the last state, and the history with the states before.
        let needed = (5 * STATE) as u64;
        let bound = 2 * (2 * needed + super::SLACK);
        let length = std::fs::metadata(dir.path().join(FILE)).unwrap().len();
        assert!(length < bound, "{length} bytes, {bound} are enough");
        let world = World {
            db: open().await.unwrap(),
        };
        let names: Vec<_> = (0..=round).map(|round| format!("m{round}")).collect();
        let found = world.names("configmaps");
        assert!(names.iter().all(|name| found.contains(name)), "{found:?}");
        let large = world.get("configmaps", "large").unwrap();
        assert_eq!(large["data"]["k"], state(number));
        let mut watch = world
            .watch("configmaps", From::Version(newest - 3), "")
            .unwrap();
        assert_eq!(drain(&mut watch), ["MODIFIED large"; 3]);
        world.db.close().await;
    }
}

#[tokio::test]
async fn a_file_of_another_layout_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::on_disk(dir.path()).await;
    world.db.close().await;
    let path = dir.path().join(FILE);
    let mut bytes = std::fs::read(&path).unwrap();
    for slot in [0, 4096] {
        bytes[slot + 8] += 1;
    }
    std::fs::write(&path, bytes).unwrap();
    let storage = Storage::Dir(dir.path().to_owned());
    let error = format!("{:#}", Db::open(storage, options()).await.unwrap_err());
    assert!(error.contains(FILE) && error.contains("layout"), "{error}");
    std::fs::rename(path, dir.path().join("store.redb")).unwrap();
    let storage = Storage::Dir(dir.path().to_owned());
    let error = format!("{:#}", Db::open(storage, options()).await.unwrap_err());
    assert!(
        error.contains("store.redb") && error.contains("layout"),
        "{error}"
    );
}

#[tokio::test]
async fn a_damaged_file_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::on_disk(dir.path()).await;
    for number in 0..50 {
        world
            .create("configmaps", config_map(&format!("m{number}"), json!({})))
            .await
            .unwrap();
    }
    world.db.close().await;
    let path = dir.path().join(FILE);
    let whole = std::fs::read(&path).unwrap();
    for damaged in [
        &whole[..whole.len() / 3],
        &whole[..100],
        b"",
        b"no store at all".as_slice(),
    ] {
        std::fs::write(&path, damaged).unwrap();
        let storage = Storage::Dir(dir.path().to_owned());
        let error = format!("{:#}", Db::open(storage, options()).await.unwrap_err());
        assert!(error.contains(FILE), "{error}");
    }
}

/// What damage may leave beside everything: nothing less of a file that was closed, the last write of another.
#[tokio::test]
async fn a_damaged_page_is_refused_by_name_or_was_not_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::on_disk(dir.path()).await;
    // Enough for the file to grow twice.
    for number in 0..250 {
        let data = json!({"k": "x".repeat(16 * 1024)});
        let made = config_map(&format!("m{number}"), data);
        world.create("configmaps", made).await.unwrap();
    }
    let before = world.names("configmaps");
    let path = dir.path().join(FILE);
    let open = std::fs::read(&path).unwrap();
    world.db.close().await;
    let closed = std::fs::read(&path).unwrap();
    let mut shorter = before.clone();
    shorter.retain(|name| name != "m249");
    for (whole, less) in [(closed, &before), (open, &shorter)] {
        let used = |page: &usize| whole[page * 4096..][..4096].iter().any(|&byte| byte != 0);
        let pages = whole.len() / 4096;
        let used: Vec<_> = (0..pages).filter(used).collect();
        assert!(used.len() > 1000 && !used.contains(&(pages - 1)));
        let some = used.iter().skip(2).step_by(used.len() / 16);
        let last = used.last().unwrap();
        for &page in some.chain([&0, &1, last, &(last + 1), &(pages - 1)]) {
            let mut damaged = whole.clone();
            for (at, byte) in damaged[page * 4096..][..4096].iter_mut().enumerate() {
                *byte = (at * 31 + page) as u8;
            }
            std::fs::write(&path, damaged).unwrap();
            let storage = Storage::Dir(dir.path().to_owned());
            match Db::open(storage, options()).await {
                Err(error) => assert!(format!("{error:#}").contains(FILE), "{error:#}"),
                Ok(db) => {
                    let world = World { db };
                    let found = world.names("configmaps");
                    assert!(found == before || found == *less, "page {page}");
                    world.db.close().await;
                }
            }
        }
    }
}

#[test]
fn what_was_written_can_be_read_whatever_its_metadata_is() {
    for metadata in [
        json!({"name": "a", "resourceVersion": "7", "ownerReferences": "x"}),
        json!({"name": "a", "resourceVersion": "7", "ownerReferences": [{"uid": 3}, 4]}),
        json!({"name": "a", "resourceVersion": "7", "labels": {"k": 1}}),
        json!({"name": "a", "resourceVersion": "7", "uid": 1, "namespace": null}),
    ] {
        let written = Object::new(&json!({"apiVersion": 1, "metadata": metadata})).unwrap();
        let read = Object::decode(written.bytes().clone()).unwrap();
        assert_eq!(read.key(), written.key());
        assert_eq!(read.resource_version(), 7);
    }
}

/// One write may change several quotas, each once: a state that two changes claim to replace could not be dropped.
#[tokio::test]
async fn store_opens_wherever_its_history_begins() {
    let dir = tempfile::tempdir().unwrap();
    let mut short = options();
    short.history_events = 3;
    for round in 0..8 {
        let storage = Storage::Dir(dir.path().to_owned());
        let db = Db::open(storage, short.clone()).await.unwrap();
        let world = World { db };
        if round == 0 {
            for name in ["a", "b", "c"] {
                let quota = json!({"metadata": {"name": name}, "spec": {"hard": {"count/configmaps": "99"}}});
                world.create("resourcequotas", quota).await.unwrap();
            }
        }
        let before = world.db.resource_version();
        let made = config_map(&format!("m{round}"), json!({}));
        world.create("configmaps", made).await.unwrap();
        assert_eq!(world.db.resource_version(), before + 4, "round {round}");
        let snapshot = world.db.snapshot();
        let quotas = StorageKey::new("", "resourcequotas");
        for quota in snapshot.within(&quotas, None) {
            let used = &quota.value()["status"]["used"]["count/configmaps"];
            assert!(used.is_string(), "{used}");
            assert!(quota.resource_version() > before);
        }
        // Other writes move where the history begins.
        for number in 0..round {
            let made = json!({"metadata": {"name": format!("s{round}-{number}")}});
            world.create("secrets", made).await.unwrap();
        }
        world.db.close().await;
    }
}

#[test]
fn history_that_is_read_is_bounded_in_bytes() {
    let mut loading = super::content::Loading::new(1000);
    let text = "x".repeat(1024 * 1024);
    for version in 1u64..=80 {
        let value = json!({"metadata": {"name": "a", "resourceVersion": version.to_string()},
            "data": text});
        let object = Object::new(&value).unwrap();
        let row = super::row::Row {
            version,
            before: version - 1,
            removed: Removed::No,
            collection: StorageKey::new("", "configmaps"),
            state: object.bytes().clone(),
        };
        let mut record = Vec::new();
        row.put(&mut record).unwrap();
        loading.add(&record).unwrap();
    }
    let content = loading.finish(0).unwrap();
    assert_eq!((content.snapshot.version, content.floor), (80, 17));
    assert_eq!(content.events.len(), 63);
    assert!(content.events.iter().all(|event| event.old.is_some()));
}

#[tokio::test]
async fn the_file_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let world = World::on_disk(dir.path()).await;
    let mode = std::fs::metadata(dir.path().join(FILE))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    drop(world);
}

#[tokio::test]
async fn a_file_in_use_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::on_disk(dir.path()).await;
    let storage = Storage::Dir(dir.path().to_owned());
    let error = Db::open(storage, options()).await.unwrap_err();
    assert!(
        format!("{error:#}").contains("in use by another process"),
        "{error:#}"
    );
    drop(world);
}

/// The child of the test below: writes until it is killed, and says what was acknowledged.
#[tokio::test]
async fn child_that_writes_until_it_is_killed() {
    let Some(dir) = std::env::var_os("TOMBOLO_TEST_STORE") else {
        return;
    };
    let mut options = options();
    options.controllers = Controllers::Off;
    let world = World {
        db: Db::open(Storage::Dir(dir.into()), options).await.unwrap(),
    };
    for number in 0.. {
        let name = format!("m{number}");
        // So large that the file is written anew meanwhile.
        let made = config_map(&name, json!({"k": "x".repeat(256 * 1024)}));
        world.create("configmaps", made).await.unwrap();
        println!("acknowledged {name}");
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_minus_nine() {
    use tokio::io::{AsyncBufReadExt, BufReader};
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for round in 1..=3 {
        let mut child = tokio::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "log::tests::child_that_writes_until_it_is_killed",
                "--nocapture",
            ])
            .env("TOMBOLO_TEST_STORE", dir.path().join(format!("{round}")))
            .stdout(std::process::Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        acknowledged.clear();
        while let Some(line) = lines.next_line().await.unwrap() {
            if let Some((_, name)) = line.split_once("acknowledged ") {
                acknowledged.push(name.to_owned());
            }
            if acknowledged.len() == 20 * round {
                child.start_kill().unwrap();
            }
        }
        child.wait().await.unwrap();
        let world = World::on_disk(&dir.path().join(format!("{round}"))).await;
        let found = world.names("configmaps");
        for name in &acknowledged {
            assert!(found.contains(name), "{name} was acknowledged and is lost");
        }
        world.db.close().await;
    }
}

/// The file after each of some commits, as a crash at that moment would leave it, and what was in the store.
async fn copies_after_each_commit(dir: &std::path::Path) -> Vec<(Vec<u8>, Vec<String>)> {
    let world = World::on_disk(dir).await;
    let mut copies = Vec::new();
    for number in 0..12 {
        let name = format!("m{number}");
        let data = json!({"k": "x".repeat(number * 700)});
        world
            .create("configmaps", config_map(&name, data))
            .await
            .unwrap();
        let bytes = std::fs::read(dir.join(FILE)).unwrap();
        copies.push((bytes, world.names("configmaps")));
    }
    world.db.close().await;
    copies
}

/// The disk writes the pages of a commit in any order, and power may go at any moment of it.
#[test]
fn a_torn_commit_leaves_the_state_before_or_after_it() {
    const PAGE: usize = 4096;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let source = tempfile::tempdir().unwrap();
    let copies = runtime.block_on(copies_after_each_commit(source.path()));
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(24)
    };
    let strategy = (0..copies.len() - 1, vec(proptest::bool::ANY, 1024));
    let held = TestRunner::new(config).run(&strategy, |(at, written)| {
        let ((before, old), (after, new)) = (&copies[at], &copies[at + 1]);
        let mut torn = after.clone();
        let pages = written.iter().cycle().take(after.len() / PAGE);
        for (page, written) in pages.enumerate() {
            let range = page * PAGE..(page + 1) * PAGE;
            if let (false, Some(former)) = (written, before.get(range.clone())) {
                torn[range].copy_from_slice(former);
            }
        }
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), &torn).unwrap();
        let found = runtime.block_on(async {
            let world = World::on_disk(dir.path()).await;
            let found = world.names("configmaps");
            world.db.close().await;
            found
        });
        prop_assert!(found == *old || found == *new, "{found:?}");
        Ok(())
    });
    held.unwrap();
}

#[tokio::test]
async fn every_shortened_file_is_refused_by_its_name_or_has_everything() {
    let source = tempfile::tempdir().unwrap();
    let (whole, names) = copies_after_each_commit(source.path()).await.pop().unwrap();
    for kept in
        (1..whole.len())
            .step_by(64 * 1024)
            .chain([0, 8192, whole.len() / 2, whole.len() - 1])
    {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), &whole[..kept]).unwrap();
        match Db::open(Storage::Dir(dir.path().to_owned()), options()).await {
            Ok(db) => {
                let world = World { db };
                let found = world.names("configmaps");
                assert!(kept == 0 || found == names, "cut to {kept}: {found:?}");
                world.db.close().await;
            }
            Err(error) => assert!(
                format!("{error:#}").contains(FILE),
                "cut to {kept}: {error:#}"
            ),
        }
    }
}
