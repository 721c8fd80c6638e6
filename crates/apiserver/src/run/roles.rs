//! The first roles and bindings: written at every start where they are missing, and completed where rights are.

use anyhow::Context as _;

use crate::db::{Db, Target, WriteOptions};
use crate::rbac::bootstrap;

/// Writes them, as one batch of the store.
pub(super) async fn write(db: &Db) -> anyhow::Result<()> {
    let registry = db.registry();
    let options = WriteOptions::by("kube-apiserver");
    let objects = bootstrap::objects();
    let writes = objects.iter().map(|object| {
        let (plural, namespace, name) = bootstrap::place(object);
        let res = registry.find("rbac.authorization.k8s.io", "v1", &plural);
        let options = &options;
        async move {
            let res = res.with_context(|| format!("the store has no {plural}"))?;
            let written = match db.get(&res, namespace, name) {
                Err(_missing) => db
                    .create(&res, namespace, object.clone(), options)
                    .await
                    .map(drop),
                Ok(present) => match bootstrap::completed(&present.value(), object) {
                    Some(whole) => db
                        .update(Target::new(&res, namespace, name), whole, options)
                        .await
                        .map(drop),
                    None => Ok(()),
                },
            };
            written.with_context(|| format!("write the first {plural}: {name}"))
        }
    });
    for written in futures_util::future::join_all(writes).await {
        written?;
    }
    Ok(())
}
