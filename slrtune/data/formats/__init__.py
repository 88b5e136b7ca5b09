"""The formats in which the field lists its clips: one file each, all into `ClipRecord`."""
