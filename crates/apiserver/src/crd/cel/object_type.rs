//! The types of whole objects, as policies that know what they are about are checked against them.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::decl::{Fields, Root, Ty};
use crate::registry::Resource;
use crate::schema::table::{self, Type};
use crate::schema::type_of;

/// The type of a resource's objects.
#[derive(Debug, Clone)]
pub(crate) struct ObjectType(pub(super) Ty);

impl ObjectType {
    /// None if nothing is known of them.
    pub(crate) fn of(res: &Resource) -> Option<Self> {
        if res.custom {
            return Ty::of_schema(res.schema.as_ref()?, Root::Yes).map(Self);
        }
        let number = type_of(&res.group, &res.version, &res.kind)?;
        Some(Self(Types::default().of_struct(number)))
    }
}

/// The types of structs, each made once. What contains itself is taken for anything inside.
#[derive(Default)]
struct Types {
    done: BTreeMap<usize, Ty>,
    open: BTreeSet<usize>,
}

impl Types {
    fn of_struct(&mut self, number: usize) -> Ty {
        if let Some(known) = self.done.get(&number) {
            return known.clone();
        }
        if !self.open.insert(number) {
            return Ty::Dyn;
        }
        let mut fields = Fields::default();
        self.add(&mut fields, number);
        self.open.remove(&number);
        let ty = Ty::Object(Arc::new(fields));
        self.done.insert(number, ty.clone());
        ty
    }

    fn add(&mut self, fields: &mut Fields, number: usize) {
        for field in &table::get().of(number).fields {
            match &field.of.what {
                // Its fields are written among the others.
                Type::Struct(inner) if field.name.is_empty() => self.add(fields, *inner),
                what => {
                    let ty = self.of_type(what);
                    fields.add(field.name, ty);
                }
            }
        }
    }

    fn of_type(&mut self, what: &Type) -> Ty {
        match what {
            Type::Text | Type::Duration => Ty::Text,
            Type::Bool => Ty::Bool,
            Type::Int32 | Type::Int64 => Ty::Int,
            Type::Float => Ty::Double,
            Type::Bytes => Ty::Bytes,
            Type::Time | Type::MicroTime => Ty::Timestamp,
            Type::Quantity | Type::IntOrString | Type::Raw | Type::Any | Type::SchemaOr(_) => {
                Ty::Dyn
            }
            Type::List(inner) => Ty::List(Arc::new(self.of_type(&inner.what))),
            Type::Map(inner) => {
                let value = self.of_type(&inner.what);
                Ty::Map(Arc::new(Ty::Text), Arc::new(value))
            }
            Type::Struct(number) => self.of_struct(*number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::admission::{Gives, Named, Scope};
    use super::*;
    use crate::registry::Registry;

    #[test]
    fn built_in_objects_have_the_fields_that_their_kinds_have() {
        let registry = Registry::with_builtin();
        let deployments = registry.find("apps", "v1", "deployments").unwrap();
        let of = ObjectType::of(&deployments).unwrap();
        let scope = Scope::new(Named::No).about(&of);
        for text in [
            "object.spec.replicas <= 5 && object.kind == 'Deployment' && object.metadata.labels.a == 'b'",
            "object.spec.template.spec.containers.all(c, c.image.endsWith('x') && c.resources.limits.cpu == '1')",
            "object.metadata.creationTimestamp > timestamp('2020-01-01T00:00:00Z')",
            "oldObject.spec.strategy.rollingUpdate.maxSurge == 1",
        ] {
            assert!(scope.compile(text, Gives::Bool).is_ok(), "{text}");
        }
        for text in ["object.spec.nope == 1", "object.spec.replicas == 'a'"] {
            assert!(scope.compile(text, Gives::Bool).is_err(), "{text}");
        }
        for res in registry.all() {
            ObjectType::of(&res);
        }
    }
}
