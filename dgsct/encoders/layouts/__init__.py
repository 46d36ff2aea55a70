"""One module an encoder: how its public file is laid out, a `dgsct.encoders.public_file.PublicFile` named `FILE`."""
