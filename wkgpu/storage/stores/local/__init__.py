"""The store on a local or mounted file system."""
