"""Raw rows from anywhere: files, folders, filesystems, the hub, procedures. Knows no domain."""
