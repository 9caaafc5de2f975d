//! Notices what happens in the drop folders and tells the engine where; what it means is decided there.
//!
//! The kernel's own inotify, without a library between: a watch has to follow no link, events have to say which folder
//! could not be watched, and a thread and a table of paths of its own are more than an idle daemon should hold.

mod mounts;
mod tree;

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use self::{
    mounts::Mounts,
    tree::{Noticed, Tree},
};
use crate::engine::Engine;

/// What happens in so short a time is read together: a file that is written wakes us no more often than this.
const BURST: Duration = Duration::from_millis(50);

/// Watches until `shutdown`.
pub async fn watch_drop_folders(engine: Engine, shutdown: CancellationToken) {
    let roots = engine.config().drop_dirs();
    let tree = match Tree::new(roots) {
        Ok(tree) => tree,
        Err(e) => {
            engine.warn(
                "inotify_limit",
                format!("the drop folder cannot be watched ({e}); it is looked through every 30 s instead"),
                "sudo sysctl -w fs.inotify.max_user_instances=512",
            );
            return engine.drop_watch_is_blind(true);
        }
    };
    tokio::select! {
        () = watch(&engine, tree) => {}
        () = shutdown.cancelled() => {}
    }
}

async fn watch(engine: &Engine, mut tree: Tree) {
    let mut mounts = Mounts::open();
    loop {
        let again = tokio::select! {
            () = tree.readable() => false,
            () = engine.drop_to_be_watched() => true,
            () = mounts.changed() => true,
        };
        if !again {
            tokio::time::sleep(BURST).await;
        }
        // adding watches walks folders
        let done = tokio::task::spawn_blocking(move || {
            let noticed = if again { tree.arm_all() } else { tree.read() };
            (noticed, tree)
        });
        let Ok((noticed, back)) = done.await else { return engine.drop_watch_is_blind(true) };
        tree = back;
        for it in noticed {
            match it {
                Noticed::Sign(root, path, sign) => engine.drop_noticed(root, path, sign),
                Noticed::Lost => engine.drop_signs_lost(),
            }
        }
        tell_limit(engine, tree.unwatched());
    }
}

/// Says that not everything can be watched. The warning stays: with the next large folder it is so again.
fn tell_limit(engine: &Engine, unwatched: usize) {
    engine.drop_watch_is_blind(unwatched > 0);
    if unwatched > 0 {
        engine.warn(
            "inotify_limit",
            "there were more folders in the drop folder than the kernel lets us watch (fs.inotify.max_user_watches); \
             these are looked through every 30 s instead",
            "sudo sysctl -w fs.inotify.max_user_watches=524288",
        );
    }
}
