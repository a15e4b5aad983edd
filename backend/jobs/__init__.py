"""Jobs on disk: the folder of one job (`folder`), what is kept in it (`features`) and who keeps it (`keeper`)."""
