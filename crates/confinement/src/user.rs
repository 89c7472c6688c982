//! Who a server is: started as root, it becomes a user without rights over others, and makes sure of it.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{
    Gid, ResGid, ResUid, Uid, getgroups, getresgid, getresuid, setegid, seteuid, setgroups,
    setresgid, setresuid,
};
use rustix::thread::CapabilitySet;

use crate::capabilities;
use crate::error::UserError;

/// A user of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    name: String,
    uid: Uid,
    gid: Gid,
}

impl User {
    /// Whom a server that this process starts shall be: `name` where one is given; else for root the owner of `owned`.
    /// `None`: who it is already.
    ///
    /// # Errors
    /// Nobody has the name, only root may become somebody else, or the user's group is root's.
    pub fn choose(name: Option<&str>, owned: &Path) -> Result<Option<Self>, UserError> {
        let is_root = Uid::effective().is_root();
        let user = match name {
            Some(name) => Self::named(name)?,
            None if is_root => Self::owner_of(owned)?,
            None => return Ok(None),
        };
        if user.uid == Uid::effective() {
            return Ok(None);
        }
        if !is_root {
            return Err(UserError::NotRoot);
        }
        if user.gid.as_raw() == 0 {
            return Err(UserError::RootsGroup(user.name));
        }
        Ok(Some(user))
    }

    fn named(name: &str) -> Result<Self, UserError> {
        let found = nix::unistd::User::from_name(name).map_err(doing("look the user up"))?;
        match found {
            Some(user) => Ok(Self::from(user)),
            None => Err(UserError::Unknown(name.to_owned())),
        }
    }

    /// Owners that the machine has no name for have the group of what they own.
    fn owner_of(path: &Path) -> Result<Self, UserError> {
        let facts = std::fs::metadata(path).map_err(|source| UserError::Owner {
            path: path.to_owned(),
            source,
        })?;
        let uid = Uid::from_raw(facts.uid());
        let found = nix::unistd::User::from_uid(uid).map_err(doing("look the owner up"))?;
        Ok(found.map_or_else(
            || Self {
                name: uid.to_string(),
                uid,
                gid: Gid::from_raw(facts.gid()),
            },
            Self::from,
        ))
    }

    /// How people know them.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// As the kernel knows them.
    #[must_use]
    pub const fn uid(&self) -> u32 {
        self.uid.as_raw()
    }

    /// Their group.
    #[must_use]
    pub const fn gid(&self) -> u32 {
        self.gid.as_raw()
    }

    /// Turns this process, which has one thread, into that user and nothing more: no further groups, no capability, no way
    /// back. What it has opened stays open.
    ///
    /// # Errors
    /// The kernel refuses a step, or something of who it was is left: then it must not go on.
    pub fn become_it(&self) -> Result<(), UserError> {
        capabilities::bound_to(CapabilitySet::empty())
            .map_err(|error| doing("give up capabilities")(io::Error::from(error)))?;
        setgroups(&[]).map_err(doing("give up groups"))?;
        setresgid(self.gid, self.gid, self.gid).map_err(doing("change the group"))?;
        setresuid(self.uid, self.uid, self.uid).map_err(doing("change the user"))?;
        self.verify()
    }

    /// Whether this process is that user and nothing else, and stays so.
    fn verify(&self) -> Result<(), UserError> {
        let ResUid {
            real,
            effective,
            saved,
        } = getresuid().map_err(doing("ask for the user"))?;
        let is_user = [real, effective, saved].iter().all(|uid| *uid == self.uid);
        let ResGid {
            real,
            effective,
            saved,
        } = getresgid().map_err(doing("ask for the group"))?;
        let is_group = [real, effective, saved].iter().all(|gid| *gid == self.gid);
        let groups = getgroups().map_err(doing("ask for the groups"))?;
        let capabilities_gone = capabilities::are_gone()
            .map_err(|error| doing("ask for the capabilities")(io::Error::from(error)))?;
        let left = match () {
            () if !is_user => "the user id",
            () if !is_group => "the group id",
            // Some systems list the main group here too.
            () if groups.iter().any(|gid| *gid != self.gid) => "further groups",
            () if !capabilities_gone => "capabilities",
            () if seteuid(Uid::from_raw(0)).is_ok() => "the way back to root",
            () if setegid(Gid::from_raw(0)).is_ok() => "the way back to root's group",
            () => return Ok(()),
        };
        Err(UserError::NotDropped {
            user: self.name.clone(),
            left,
        })
    }
}

impl From<nix::unistd::User> for User {
    fn from(user: nix::unistd::User) -> Self {
        Self {
            name: user.name,
            uid: user.uid,
            gid: user.gid,
        }
    }
}

fn doing<E: Into<io::Error>>(step: &'static str) -> impl FnOnce(E) -> UserError {
    move |error| UserError::Step {
        step,
        source: error.into(),
    }
}

#[cfg(test)]
mod tests {
    use testing::skipped;

    use super::*;

    #[test]
    fn who_is_not_there_is_not_taken_for_somebody() {
        let missing = Path::new("/no/such/folder");
        for name in ["no-such-user", "", "0", "-1"] {
            let refusal = User::choose(Some(name), missing).unwrap_err();
            assert!(matches!(refusal, UserError::Unknown(_)), "{refusal}");
        }
    }

    #[test]
    fn a_normal_user_stays_who_they_are() {
        if Uid::effective().is_root() {
            return skipped("root is no normal user");
        }
        let missing = Path::new("/no/such/folder");
        assert_eq!(User::choose(None, missing).unwrap(), None);
        let refusal = User::choose(Some("root"), missing).unwrap_err();
        assert!(matches!(refusal, UserError::NotRoot), "{refusal}");
    }

    #[test]
    fn root_becomes_the_owner_unless_that_is_root() {
        if !Uid::effective().is_root() {
            return skipped("only root becomes somebody else");
        }
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(User::choose(None, folder.path()).unwrap(), None);
        let (uid, gid) = (54_321, 54_322);
        std::os::unix::fs::chown(folder.path(), Some(uid), Some(gid)).unwrap();
        let owner = User::choose(None, folder.path()).unwrap().unwrap();
        assert_eq!(
            (owner.name(), owner.uid(), owner.gid()),
            ("54321", uid, gid)
        );
        std::os::unix::fs::chown(folder.path(), Some(uid), Some(0)).unwrap();
        let refusal = User::choose(None, folder.path()).unwrap_err();
        assert!(matches!(refusal, UserError::RootsGroup(_)), "{refusal}");
    }

    #[test]
    fn who_has_not_become_somebody_is_found_out() {
        let (uid, gid) = (Uid::effective(), Gid::effective());
        let user = |uid: Uid, gid: Gid| User {
            name: "x".to_owned(),
            uid,
            gid,
        };
        let left = |user: User| match user.verify() {
            Err(UserError::NotDropped { left, .. }) => left,
            other => panic!("{other:?}"),
        };
        assert_eq!(left(user(Uid::from_raw(54_321), gid)), "the user id");
        assert_eq!(left(user(uid, Gid::from_raw(54_321))), "the group id");
        if uid.is_root() && getgroups().unwrap().iter().all(|group| *group == gid) {
            assert_eq!(left(user(uid, gid)), "capabilities");
        }
    }
}
