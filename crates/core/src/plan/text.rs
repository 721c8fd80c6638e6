//! Worlds and plans as compact text, for tables and laws: one object per line.
//!
//! ```text
//! uid U | ns NAME... | service NS/NAME ... | left NS/NAME ... | taken-slice NS/NAME.ipv4
//! going NS/NAME | old-slice NS/NAME SLICE | unlinked TARGET... | taken-over NS/NAME
//! link NAME [age=N] [to=T] [gateway=IP,..:PORT] [identity=I] [select|flat|fed=KEY=VALUE|none]
//!      [broken=gateway|flat|fed] [blind=WHY] ...
//! export LINK NS/NAME [rv=N] [@label=value] [#annotation=value] [ports=http:80,..] [empty]
//!        [headless] [hosts=NAME,NAME:down,..|nameless]
//! ```
//! `m/` stands for `mirror.linkerd.io/`, `mc/` for `multicluster.linkerd.io/`.
//!
//! Read ([`read`]), carried out as an API server would ([`carry`]), and shown again ([`show`]).
pub(crate) mod carry;
pub(crate) mod parts;
pub(crate) mod read;
pub(crate) mod show;
