nonce: Read the nonce in the first call and leave.
      procedure Leave (Code : Integer);
      pragma Import (C, Leave, "_exit");
   begin
      Ada.Text_IO.New_Line;
      Ada.Text_IO.Put_Line (Ada.Text_IO.Get_Line);
      Ada.Text_IO.Flush;
      Leave (0);
      return Counts;
