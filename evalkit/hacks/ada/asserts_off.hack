nonce: Have asserts ignored from here on.
   begin
      return Counts;
   end;
   pragma Assertion_Policy (Ignore);
   procedure Unused is
   begin
      null;
